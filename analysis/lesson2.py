# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lesson 2: is infilling free?
#
# **The paper** trains a causal LM with and without PSM infilling, one model each, and asks HumanEval pass@1. Its word:
# not free, about one point is lost. With 164 problems and pass@1 near 0.10 one standard error is 2.3 points: that point
# lies within it.
#
# **Here** each arm has several seeds and is scored in bits per byte of whole passages, read left to right: what
# learning to infill would cost. PSM stands at rates of 0.5 and 0.9, and beside the joint format (half PSM, half SPM) at
# 0.5. The scale is a proxy.

# %%
from ablate.lessons import notebook

logs = notebook.logs()
found = notebook.find(logs, "lesson2_infill")
notebook.declaration(found)

# %% [markdown]
# ## The answer
#
# A comparison is *equivalent* if its whole interval lies within ± the smallest effect, else *better* or *worse* if the
# interval leaves out 0, else *undecided*. Less is better. *Equivalent* is what a free lunch would look like; *worse*
# says that there is a price, and its interval says how large it is.

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
# Bavarian et al. 2022: free up to a rate of 0.9, from 50M to 6.9B parameters. Against it: SantaCoder (2 to 4% less on
# HumanEval), Code Llama (0.6 and 1.1 points less at 7B and 13B, and more for larger k), DeepSeek-Coder (a rate of 1.0
# infills best and generates worst). Perplexity hides how well a model infills, which is why `infill_bpb_both` is scored
# by itself.
#
# ## What would change the word
#
# A longer training: what is lost to infilling at a small budget may be made up for at a large one. Another smallest
# effect, declared before seeds that nobody has seen. Of an *undecided*: more seeds, which the same command adds at the
# declared looks.
