# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # When is the order of the arms the final one?
#
# The paper compares models at one budget. If the order of the arms were the final one early, a smaller budget would
# tell as much; if it still changed at the end, a larger one might change it again.

# %%
from IPython.display import Markdown, display

from ablate.lessons import notebook

lessons = notebook.every(notebook.logs())

# %% [markdown]
# ## The table
#
# Arms are ordered by their means over seeds of the primary metric on the validation split, which is scored a few times while
# a trial trains. *Order is final from*: the share of the budget from which all arms stand as they do at the end; *best
# from*: the same of the best arm alone. Arms that a lesson calls equivalent may change places by noise alone, and four
# places are few: an order that is final from 100% may have been so a little earlier.

# %%
notebook.settled(lessons)

# %% [markdown]
# ## The curves
#
# Mean and range over seeds. Each arm's training loss is that of its own objective: lower is not better across
# objectives. The metric on the validation split is the one that can be compared.

# %%
for name, found in lessons.items():
    display(Markdown(f"### {name}"), notebook.curves(found))

# %% [markdown]
# ## What would change this
#
# A learning rate that has not come down: the schedule ends with the budget, so that a curve's middle is not what a
# smaller budget would have reached. Lesson 5 has the schedule's horizon as a factor.
