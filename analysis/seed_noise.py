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
# The paper has no seeds, error bars or tests. Ours say how many seeds each verdict requires, where the noise comes
# from, and how often a difference is claimed between two arms that are the same.

# %%
import cells

logs = cells.logs()
lessons = cells.every(logs)

# %% [markdown]
# ## Seeds that a verdict requires
#
# For comparisons of two arms: seeds per arm that detect the measured difference at the 5% level with 80% power, without
# other comparisons. *Paired*: the arms share initial values and, unless the data is the factor, windows; their
# difference is tested seed by seed. *Welch*: the same trials as if unpaired. The more the arms correlate under shared
# seeds, the more pairing saves. The deviations were measured on few seeds, so the numbers are orders of magnitude.

# %%
cells.required_seeds(lessons)

# %% [markdown]
# ## Variance components
#
# Fractions of each declared comparison's variance: seeds (which move all documents together), documents (the same for
# every seed), and their interaction. A lesson's intervals cover other seeds and other documents: the last column is
# their standard error, and the one before that of other seeds on these documents.

# %%
cells.variance(lessons)

# %% [markdown]
# ## A/A test
#
# The grids `seed_noise_0` and `seed_noise_1` are one configuration under two initialisations, compared in groups of
# three shared data seeds. Every claimed difference is a false positive. If there are many more than allowed, no verdict
# can be trusted.

# %%
cells.aa_comparisons(logs)

# %% [markdown]
# ## What would change this
#
# More seeds sharpen the first two tables, more groups the count of false positives. `bench/calibration.py` simulates
# thousands of grids, also with unequal or heavy-tailed noise (docs/statistics.md).
