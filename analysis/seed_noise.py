# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How much of a difference is noise?
#
# The paper gives no seeds, error bars or tests. Here is what those of our lessons say: how many seeds each verdict
# takes, where the noise comes from, and how often the whole machinery claims a difference between two things that are
# the same.

# %%
from ablate.lessons import notebook

logs = notebook.logs()
lessons = notebook.every(logs)

# %% [markdown]
# ## What a verdict costs
#
# Of comparisons of two arms: seeds per arm until the measured difference is told from 0, at 5% and with 80% power, if
# nothing else were compared. *Paired*: both arms start from the same values and, where the data is not what is
# compared, read the same windows, and their difference is tested seed by seed. *Welch*: the same trials as if they were
# not paired. The more the arms correlate under shared seeds, the more pairing saves. The numbers rest on deviations
# that were themselves measured on few seeds: read them as orders of magnitude.

# %%
notebook.cost(lessons)

# %% [markdown]
# ## Where the noise comes from
#
# Shares of the variance of each declared comparison, were everything drawn anew: seeds (which move all documents
# together), documents (the same for every seed), and how the two meet. The intervals of a lesson cover other seeds on
# these documents; the last column is the standard error with other documents too.

# %%
notebook.noise(lessons)

# %% [markdown]
# ## A thing beside itself
#
# The grids `seed_noise_0` and `seed_noise_1` are one configuration under two initialisations, compared in groups of
# three shared data seeds. Every claim of a difference is a false one; a share well above what is allowed would take the
# weight from all our words.

# %%
notebook.identical(logs)

# %% [markdown]
# ## What would change this
#
# More seeds sharpen the costs and the shares, more groups the count of false claims. `bench/calibration.py` asks the
# same of simulated grids, by the thousand, also where noise is unequal or heavy-tailed (docs/statistics.md).
