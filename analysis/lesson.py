# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% tags=["parameters"]
# The lesson to show, by its name: one of the five, or any other with a `lesson.name`.
import os

LESSON = os.environ.get("ABLATE_LESSON", "lesson1_prefix_lm")

# %%
import cells

logs = cells.logs()
lesson = cells.find(logs, LESSON)
cells.text(LESSON, "heading", "paper", "here")

# %%
cells.declaration(lesson)

# %% [markdown]
# ## The answer
#
# A comparison is *equivalent* if its whole interval lies within ± the smallest effect; else *better* or *worse* if the
# interval excludes 0; else *undecided*. Lower is better. Each arm has several seeds, and the scale is a proxy.

# %%
cells.text(LESSON, "reading")

# %%
cells.table(lesson)

# %%
cells.comparisons(lesson)

# %%
cells.curves(lesson)

# %% [markdown]
# How certain that is, and what each arm read and computed:

# %%
cells.notes(lesson)

# %%
cells.accounting(lesson)

# %% [markdown]
# ## What others found

# %%
cells.text(LESSON, "others")

# %% [markdown]
# The paper's own figures:

# %%
cells.published(LESSON)

# %% [markdown]
# ## What would change the verdict

# %%
cells.text(LESSON, "what_would_change_it")

# %% [markdown]
# An *undecided* comparison takes more seeds, which the same command adds at the declared looks.
