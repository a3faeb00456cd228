"""The loss curves of a grid: the mean over seeds, and the band that the seeds span."""

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from ablate.lessons.lesson import Lesson
from ablate.records.files import replacing

# Okabe and Ito's palette: told apart by readers with any colour vision.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
# As many as there are colours that can be told apart.
MOST_CURVES = len(COLOURS)


def draw_curves(found: Lesson) -> list[Path]:
    """Writes `curves.png` and `curves.pdf` into the lesson's folder and returns their paths."""
    matplotlib.use("Agg")
    results = found.results
    shown = found.shown_arms(MOST_CURVES)
    history = results.history(shown)
    primary = f"tune/{results.declaration['primary_metric']}"
    panels = [("train/loss", "training loss of each arm's own objective\n(nats per token asked, running mean)")]
    if primary in history:
        panels.append((primary, f"{results.declaration['primary_metric']} on the tune split\n(bits per byte)"))
    figure, axes = plt.subplots(1, len(panels), figsize=(4.8 * len(panels), 3.6), layout="constrained", squeeze=False)
    for axis, (metric, axis_label) in zip(axes[0], panels, strict=True):
        for label, colour in zip(shown, COLOURS, strict=False):
            _curve(axis, history[history["arm"] == label], metric, label, colour)
        axis.set_xlim(left=0)
        axis.set_xlabel("source tokens")
        axis.set_ylabel(axis_label)
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.xaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=""))
    axes[0][0].legend(frameon=False)
    rest = len(results.arms) - len(shown)
    title = f"{results.grid['title']}: mean and range over seeds"
    title += f" (the baseline and the {len(shown) - 1} best of {rest + len(shown)} arms)" if rest else ""
    figure.suptitle(title, fontsize="medium", x=0.01, ha="left")
    paths = [results.folder / "curves.png", results.folder / "curves.pdf"]
    for path in paths:
        with replacing(path) as scratch:
            # No date in the file: the same results draw the same bytes.
            metadata = {"CreationDate": None} if path.suffix == ".pdf" else None
            figure.savefig(scratch, format=path.suffix[1:], dpi=160, metadata=metadata)
    plt.close(figure)
    return paths


def _curve(axis: Axes, history: pd.DataFrame, metric: str, label: str, colour: str) -> None:
    rows = history.dropna(subset=[metric])
    if rows.empty:
        return
    # Seeds that are matched on something else than source tokens are logged at places of their own.
    places = np.unique(rows["data/source_tokens"].to_numpy(float))
    seeds = [seed.sort_values("data/source_tokens") for _, seed in rows.groupby("seed")]
    curves = np.array(
        [np.interp(places, seed["data/source_tokens"], _smooth(seed[metric], metric), np.nan, np.nan) for seed in seeds]
    )
    shared = ~np.isnan(curves).any(axis=0)
    places, curves = places[shared], curves[:, shared]
    axis.plot(places, curves.mean(axis=0), color=colour, label=label, linewidth=1.6)
    if len(curves) > 1:
        axis.fill_between(places, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.18, linewidth=0)


def _smooth(values: pd.Series, metric: str) -> pd.Series:
    """A running mean of the training loss: batches are small and of two sources; the rest as it is."""
    if metric != "train/loss":
        return values
    return values.rolling(max(1, len(values) // 12), min_periods=1).mean()
