# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lesson 3: are causal language modelling and span corruption enough?
#
# **The paper** shows its final recipe at 1B to 16B beside InCoder, on HumanEval and HumanEval-Infill. Its word: the
# objective can be simple, but must be mixed with care. No arm is left out or put in, so nothing tells what the mix
# does.
#
# **Here** the recipe stands beside its parts: causal alone, span corruption alone, the mix within documents (the
# paper's) and across them, and causal with PSM infilling; several seeds each. Scored are bits per byte of whole
# passages and of middles between their two sides. The scale is a proxy.

# %%
from ablate.lessons import notebook

logs = notebook.logs()
found = notebook.find(logs, "lesson3_mixed_objective")
notebook.declaration(found)

# %% [markdown]
# ## The answer
#
# A comparison is *equivalent* if its whole interval lies within ± the smallest effect, else *better* or *worse* if the
# interval leaves out 0, else *undecided*. Less is better, and a comparison stands under the metric on which it was
# declared: *infilling, mixed − PSM* under `infill_bpb_both`, where each arm is asked in its own format.

# %%
notebook.table(found)

# %%
notebook.comparisons(found)

# %%
notebook.curves(found)

# %% [markdown]
# How sure that is, and what each arm read, was asked and computed:

# %%
notebook.notes(found)

# %%
notebook.accounting(found)

# %% [markdown]
# ## What the others found
#
# The paper's own points, second-hand: CodeGen2-7B 19.09 pass@1, 68.74 and 38.88 infilling single and multiple lines;
# InCoder-6.7B 15.20, 66.69 and 34.62. DeepSeek-Coder: half PSM is better than half masked spans. UL2: about a fifth of
# the sequential denoiser is liked.
#
# ## What would change the word
#
# The bounds of corruption ratio and span lengths, which the paper leaves open and we had to choose; loss on the targets
# alone; another scale. Of an *undecided*: more seeds, which the same command adds at the declared looks.
