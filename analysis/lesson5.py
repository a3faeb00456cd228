# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lesson 5: do several epochs hurt?
#
# **The paper** shows CodeGen2.5-7B, which read 1.4T tokens, five epochs of StarCoderData, on HumanEval pass@1, 10 and
# 100. Its word: several epochs work. Three explanations stay together there: more tokens, span corruption that acts as
# augmentation, and a learning rate that stays high for longer.
#
# **Here** the total of tokens is fixed and the three are factors, each alone and in pairs: text that is read once at
# most, or a quarter of that text four times; causal or mixed (which draws other spans each time); a schedule that ends
# with the budget or at twice of it. Several seeds each, scored in bits per byte of whole passages. The scale is a
# proxy.

# %%
from ablate.lessons import notebook

logs = notebook.logs()
found = notebook.find(logs, "lesson5_multi_epoch")
notebook.declaration(found)

# %% [markdown]
# ## The answer
#
# A comparison is *equivalent* if its whole interval lies within ± the smallest effect, else *better* or *worse* if the
# interval leaves out 0, else *undecided*. Less is better. A main effect is a mean over the other two factors. An
# interaction tells whether one factor does something else under another: were span corruption an augmentation,
# repeating would cost the mix less.

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
# CodeGen2.5-7B, second-hand: 28.36 pass@1. Muennighoff et al. 2023 fit what repeated text is worth: with R* = 15.39, up
# to four epochs cost almost nothing.
#
# ## What would change the word
#
# More epochs at the same total; a model that is larger for its text, so that it can learn it by heart; text that is not
# as easily exhausted as ours. Of an *undecided*: more seeds, which the same command adds at the declared looks.
