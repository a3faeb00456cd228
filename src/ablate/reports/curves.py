"""Loss curves of a grid: the mean and the range over seeds."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from ablate.lessons.lesson import Lesson
from ablate.reports.figure import COLOURS, QUIET, label_text, quiet_grid, style

# There are no more distinct colours.
MAX_CURVES = len(COLOURS)
LOSS, TOKENS = "train/loss", "data/train_tokens"
# Inches of a panel.
WIDTH, HEIGHT = 4.6, 3.4


def draw_curves(lesson: Lesson) -> Figure:
    """Draw the training loss of each arm and, if it was scored, the primary metric on the validation split.

    The legend stands below the panels, so long labels take no room from them.
    """
    history, panels = _history(lesson), _panels(lesson)
    shown = curve_labels(lesson)
    names = [name for name in panels if name in history] or [LOSS]
    labels = [label_text(label) for label in shown]
    columns = max(1, min(len(shown), int(len(names) * WIDTH * 11 / (6 + max(map(_longest, labels), default=1)))))
    lines = max(text.count("\n") + 1 for text in labels) * -(-len(shown) // columns)
    with style():
        figure = Figure(figsize=(WIDTH * len(names), HEIGHT + 0.2 * lines), layout="constrained")
        axes = figure.subplots(1, len(names), squeeze=False)[0]
        for axis, name in zip(axes, names, strict=True):
            _panel(axis, history, name, panels[name], shown)
        handles = axes[0].get_lines()
        if handles:
            drawn = [labels[shown.index(str(line.get_label()))] for line in handles]
            figure.legend(handles, drawn, loc="outside lower left", ncols=columns, frameon=False)
        rest = len(lesson.results.arms) - len(shown)
        title = "Lines: mean over seeds; bands: range over seeds"
        title += f"; the baseline and the {len(shown) - 1} best of {rest + len(shown)} arms" if rest else ""
        figure.suptitle(title, fontsize="small", x=0.01, ha="left", color=QUIET)
    return figure


def curve_panels(lesson: Lesson) -> Iterator[tuple[str, Figure]]:
    """Yield the panels of `draw_curves` as figures of their own without legend, each with what it shows."""
    history = _history(lesson)
    for name, about in _panels(lesson).items():
        if name in history and not history[name].dropna().empty:
            with style():
                figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
                _panel(figure.add_subplot(), history, name, "", curve_labels(lesson))
            yield about.replace("\n", " "), figure


def curve_labels(lesson: Lesson) -> list[str]:
    """The arms that are drawn, in the order of their colours."""
    return lesson.shown_arms(MAX_CURVES)


def _longest(text: str) -> int:
    return max(map(len, text.split("\n")))


def _panels(lesson: Lesson) -> dict[str, str]:
    """Name in the log → what its panel shows."""
    results = lesson.results
    return {
        LOSS: "training loss of each arm's own objective\n(nats per loss token, running mean)",
        f"val/{results.primary_metric}": f"{results.primary_metric} on the validation split\n"
        f"({results.metric(results.primary_metric).unit})",
    }


def _history(lesson: Lesson) -> pd.DataFrame:
    return lesson.results.history(curve_labels(lesson), [TOKENS, *_panels(lesson)])


def _panel(axis: Axes, history: pd.DataFrame, name: str, label: str, shown: Sequence[str]) -> None:
    for arm, colour in zip(shown, COLOURS, strict=False):
        _curve(axis, history[history["arm"] == arm], name, arm, colour)
    axis.set_xlim(left=0)
    axis.set_xlabel("train tokens")
    axis.set_ylabel(label)
    quiet_grid(axis)
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))


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
    axis.plot(places, curves.mean(axis=0), color=colour, label=label, linewidth=1.6)
    if len(curves) > 1:
        axis.fill_between(places, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.18, linewidth=0)


def _smooth(values: pd.Series, metric: str) -> pd.Series:
    """Return a running mean of the training loss, whose batches are small and of two sources; else the values."""
    if metric != LOSS:
        return values
    return values.rolling(max(1, len(values) // 12), min_periods=1).mean()
