# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A lesson of your own
#
# A template. It uses `from ablate import lesson` and pandas, and nothing else of this folder: copy it and change it.

# %% tags=["parameters"]
import os

# The lesson's name or its grid's id; None for the grid that was run last.
LESSON = os.environ.get("ABLATE_LESSON")
# A ledger (`runs_dir`) or an archive, seen from the folder of this notebook.
RUNS_DIR = os.environ.get("ABLATE_LOGS", "../runs")

# %%
from ablate import lesson

found = lesson(LESSON, RUNS_DIR)
print(found.results.grid.command)

# %% [markdown]
# ## The verdicts
#
# The primary metric, with simultaneous intervals of the differences.

# %%
table = found.table()
primary = found.results.primary_metric
table[table["metric"] == primary].set_index("arm")[["mean", "difference", "low", "high", "verdict"]]

# %%
{name: (str(verdict.verdict), verdict.qualifiers) for name, verdict in found.verdicts.items()}

# %%
# %matplotlib inline
from ablate.reports.forest import draw_forest

draw_forest(found)

# %% [markdown]
# ## Each trial
#
# The primary metric by arm and seed. Compare along a column: arms with the same seed read the same text.

# %%
values = found.results.values(primary)
values.round(4)

# %%
values - values.loc[found.results.baseline]

# %% [markdown]
# ## The logs
#
# A row per trial and logged step, with the arm, the seed and every metric.

# %%
history = found.results.history(list(values.index))
losses = history.dropna(subset=["train/loss"])
curves = losses.pivot_table("train/loss", "data/train_tokens", "arm")
curves.plot(xlabel="train tokens", ylabel="training loss, mean over seeds")

# %% [markdown]
# What each arm read and computed, as means per trial:

# %%
found.results.accounting()
