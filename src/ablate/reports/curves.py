"""Loss curves of a grid: the mean and the range over seeds."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from ablate.lessons.lesson import Lesson
from ablate.reports.figure import COLOURS, label_text, quiet_grid, style

# There are no more distinct colours.
MAX_CURVES = len(COLOURS)
LOSS, TOKENS = "train/loss", "data/train_tokens"


def draw_curves(lesson: Lesson) -> Figure:
    """Draw the training loss of each arm and, if it was scored, the primary metric on the validation split."""
    results = lesson.results
    shown = lesson.shown_arms(MAX_CURVES)
    validation = f"val/{results.primary_metric}"
    history = results.history(shown, [TOKENS, LOSS, validation])
    panels = {LOSS: "training loss of each arm's own objective\n(nats per loss token, running mean)"}
    if validation in history:
        unit = results.metric(results.primary_metric).unit
        panels[validation] = f"{results.primary_metric} on the validation split\n({unit})"
    with style():
        figure = Figure(figsize=(4.8 * len(panels), 3.6), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axis, (name, axis_label) in zip(axes, panels.items(), strict=True):
            for label, colour in zip(shown, COLOURS, strict=False):
                _curve(axis, history[history["arm"] == label], name, label, colour)
            axis.set_xlim(left=0)
            axis.set_xlabel("train tokens")
            axis.set_ylabel(axis_label)
            quiet_grid(axis)
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes[0].legend(frameon=False)
        rest = len(results.arms) - len(shown)
        title = f"{results.grid.title}: mean and range over seeds"
        title += f" (the baseline and the {len(shown) - 1} best of {rest + len(shown)} arms)" if rest else ""
        figure.suptitle(title, fontsize="medium", x=0.01, ha="left")
    return figure


def _curve(axis: Axes, history: pd.DataFrame, metric: str, label: str, colour: str) -> None:
    rows = history.dropna(subset=[name for name in (metric,) if name in history])
    if rows.empty or metric not in history:
        return
    # Seeds that are matched on something else than train tokens are logged at different places.
    places = np.unique(rows[TOKENS].to_numpy(float))
    seeds = [seed.sort_values(TOKENS) for _, seed in rows.groupby("seed")]
    curves = np.array(
        [np.interp(places, seed[TOKENS], _smooth(seed[metric], metric), np.nan, np.nan) for seed in seeds]
    )
    shared = ~np.isnan(curves).any(axis=0)
    places, curves = places[shared], curves[:, shared]
    axis.plot(places, curves.mean(axis=0), color=colour, label=label_text(label), linewidth=1.6)
    if len(curves) > 1:
        axis.fill_between(places, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.18, linewidth=0)


def _smooth(values: pd.Series, metric: str) -> pd.Series:
    """Return a running mean of the training loss, whose batches are small and of two sources; else the values."""
    if metric != LOSS:
        return values
    return values.rolling(max(1, len(values) // 12), min_periods=1).mean()
