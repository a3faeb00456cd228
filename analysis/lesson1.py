# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lesson 1: does a prefix language model unify encoder and decoder?
#
# **The paper** trains a causal decoder and a prefix LM on BigPython and on The Stack, one model each, no error bars,
# and asks HumanEval, HumanEval-Infill, XSum, BoolQ and defect detection. Its word: the benefit of prefix-LM is
# questionable.
#
# **Here** each arm has several seeds, and the question is the bits per byte of a passage's second half, whose first
# half every arm reads in its own way. An arm that the paper lacks asks as few tokens as the prefix LM, but reads
# causally: it tells the mask from the missing loss tokens. Nothing is fine-tuned, and the scale is a proxy.

# %%
from ablate.lessons import notebook

logs = notebook.logs()
found = notebook.find(logs, "lesson1_prefix_lm")
notebook.declaration(found)

# %% [markdown]
# ## The answer
#
# A comparison is *equivalent* if its whole interval lies within ± the smallest effect, else *better* or *worse* if the
# interval leaves out 0, else *undecided*. Less is better. *Both directions alone* is what the mask does at equal loss
# tokens; the rest of *prefix LM − causal LM* is the price of asking fewer tokens.

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
# Wang et al. 2022: after pre-training alone a causal decoder is ahead of non-causal ones and of encoder-decoders; after
# multitask fine-tuning the order changes. They matched seen tokens, not loss tokens. In the paper UL2 is much worse
# than a causal LM on HumanEval, which it lays to too few uncorrupted sequences.
#
# ## What would change the word
#
# Matching on what is asked (`budget.matched_on=loss_tokens`), another scale or budget (`scale=…`, `budget=…`), or tasks
# that are fine-tuned for. Of an *undecided*: more seeds, which the same command adds at the declared looks.
