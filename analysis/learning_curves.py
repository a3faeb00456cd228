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
# The paper compares models at one budget. If the order of the arms is final early, a smaller budget would have been
# enough; if it still changes at the end, a larger budget might change it again.

# %%
from IPython.display import Markdown, display

import cells

lessons = cells.every(cells.logs())

# %% [markdown]
# ## The table
#
# Arms are ordered by their means over seeds of the primary metric on the validation split, which is scored a few times
# during training. *Order is final from*: the fraction of the budget from which all arms have their final rank. *Best
# from*: the same for the best arm alone. Arms that a lesson calls equivalent may change places by noise alone. Four
# evaluations are few: an order that is final from 100% may have been final a little earlier.

# %%
cells.final_order(lessons)

# %% [markdown]
# ## The curves
#
# Mean and range over seeds. Each arm's training loss is that of its own objective, so losses of different objectives
# can't be compared. The metric on the validation split can.

# %%
for name, lesson in lessons.items():
    display(Markdown(f"### {name}"), cells.curves(lesson))

# %% [markdown]
# ## What would change this
#
# The learning rate: the schedule ends with the budget, so the middle of a curve is not what a smaller budget would have
# reached. Lesson 5 has the schedule's length as a factor.
