# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lesson 4: does mixing natural and programming language help both?
#
# **The paper** trains on The Pile, on The Stack and on an equal mix of both, at equal compute, and shows LAMBADA, PIQA
# and HumanEval over the steps. Its word: on each side the mix does not beat the matching data alone, is close to it,
# and is far above the other data.
#
# **Here** the mix, code alone and English alone have several seeds each, and are scored in bits per byte of held-out
# code and English apart. Arms that read other data can't read the same windows: they are paired by seed only. The scale
# is a proxy.

# %%
from ablate.lessons import notebook

logs = notebook.logs()
found = notebook.find(logs, "lesson4_data_mixture")
notebook.declaration(found)

# %% [markdown]
# ## The answer
#
# A comparison is *equivalent* if its whole interval lies within ± the smallest effect, else *better* or *worse* if the
# interval leaves out 0, else *undecided*. Less is better. The paper's word has two halves on each side: *the mix − the
# matching data* should be near 0, and *the mix − the other data* far below it.

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
# "To Code or Not To Code": a quarter of code is best for language. Muennighoff et al. 2023: up to half of code costs
# language nothing.
#
# ## What would change the word
#
# Other shares (`mixture.weights`), and how much text there is: an arm that reads one source alone goes over it more
# often, which the notes count in epochs. Of an *undecided*: more seeds, which the same command adds at the declared
# looks.
