"""A ladder's figure: the loss of each arm over compute with its curve, and the effects with theirs."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from ablate.lessons.critical_values import Floats
from ablate.lessons.fits import Fitted
from ablate.lessons.lesson import Lesson
from ablate.lessons.predictions import ArmCurve, Predictions, at_flops
from ablate.reports.figure import COLOURS, INK, LINE, QUIET, label_text, quiet_grid, style

PANEL = (4.2, 3.4)
PLACES = 60


def draw_ladder(lesson: Lesson) -> Figure | None:
    """Draw points, curves with bands, and targets; None without a ladder whose rungs differ in compute."""
    predictions = lesson.ladder
    if predictions is None or len({rung.flops for rung in predictions.ladder.rungs}) < 2:
        return None
    has_curves = "compute" in predictions.declared.fits
    with style():
        figure = Figure(figsize=(PANEL[0] * (1 + has_curves), PANEL[1]), layout="constrained")
        axes = figure.subplots(1, 1 + has_curves, squeeze=False)[0]
        if has_curves:
            _draw_losses(axes[0], predictions)
        _draw_effects(axes[-1], predictions)
        for axis in axes:
            _frame(axis, predictions)
        handles = {
            label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=min(3, len(handles)), frameon=False
        )
    return figure


def _draw_losses(axis: Axes, predictions: Predictions) -> None:
    ladder = predictions.ladder
    for curve, colour in zip(predictions.curves, COLOURS, strict=False):
        rungs = curve.drawn.rungs if curve.drawn else ()
        means = [float(np.nanmean(rung.values_AS.loc[curve.arm].to_numpy(float))) for rung in rungs]
        axis.plot([rung.flops for rung in rungs], means, "o", color=colour, markersize=4.5, label=label_text(curve.arm))
        if curve.fitted is not None:
            _draw_band(axis, predictions, curve.fitted, None, colour)
    axis.set_ylabel(ladder.metric)


def _draw_effects(axis: Axes, predictions: Predictions) -> None:
    ladder = predictions.ladder
    curves = {curve.arm: curve for curve in predictions.curves} if "compute" in predictions.declared.fits else {}
    axis.axhline(0, color=QUIET, linewidth=0.8)
    axis.axhspan(-predictions.smallest_effect, predictions.smallest_effect, color=LINE, alpha=0.5, linewidth=0)
    flops = {rung.label: rung.flops for rung in ladder.rungs}
    for place, slope in enumerate(ladder.slopes, start=1):
        # Arms have the colours of their curves.
        colour = COLOURS[(ladder.arms.index(slope.name) if slope.name in ladder.arms else place) % len(COLOURS)]
        places = [flops[rung] for rung in slope.effects]
        ranges = list(slope.effects.values())
        values = [effect.value for effect in ranges]
        spread = [[effect.value - effect.low for effect in ranges], [effect.high - effect.value for effect in ranges]]
        label = label_text(slope.name)
        axis.errorbar(places, values, spread, fmt="o", color=colour, markersize=4.5, linewidth=1.4, label=label)
        curve = curves.get(slope.name, ArmCurve(slope.name, None))
        if curve.fitted is not None and curve.of_baseline is not None:
            _draw_band(axis, predictions, curve.fitted, curve.of_baseline, colour)
        elif slope.slope is not None and slope.at_largest is not None:
            decades = np.log10(np.array(places) / places[-1])
            axis.plot(places, slope.at_largest.value + slope.slope.value * decades, color=colour, linewidth=1.2)
    minus = "" if ladder.contrasts else f", − {label_text(ladder.baseline)}"
    axis.set_ylabel(f"effect on {ladder.metric}{minus}")


def _draw_band(axis: Axes, predictions: Predictions, fitted: Fitted, minus: Fitted | None, colour: str) -> None:
    """Draw a curve, or the difference of two, from the smallest rung to the farthest target, with its interval."""
    flops = [rung.flops for rung in predictions.ladder.rungs]
    places = np.geomspace(min(flops), max([*flops, *predictions.declared.targets.values()]), PLACES)
    value_KR: Floats = fitted.curve.at(at_flops(places), fitted.parameter_KP)
    if minus is not None:
        value_KR = value_KR - minus.curve.at(at_flops(places), minus.parameter_KP)
    widening = max(fitted.widening, minus.widening if minus else 1.0)
    error = predictions.ladder.error
    low_R, high_R = np.quantile(value_KR[1:], [error / 2, 1 - error / 2], axis=0)
    middle_R = value_KR[0]
    axis.plot(places, middle_R, color=colour, linewidth=1.2)
    band = (middle_R - widening * (middle_R - low_R), middle_R + widening * (high_R - middle_R))
    axis.fill_between(places, *band, color=colour, alpha=0.15, linewidth=0)


def _frame(axis: Axes, predictions: Predictions) -> None:
    axis.set_xscale("log")
    # The style parses no formulas, which are matplotlib's own labels of powers.
    axis.xaxis.set_major_formatter(FuncFormatter(lambda flops, _: f"{flops:.0e}".replace("e+", "e")))
    axis.xaxis.set_major_locator(LogLocator(numticks=6))
    axis.set_xlabel("training FLOPs of the baseline")
    quiet_grid(axis)
    for name, flops in _targets(predictions):
        axis.axvline(flops, color=QUIET, linewidth=0.9, linestyle="--")
        axis.annotate(
            name, (flops, 1), xycoords=("data", "axes fraction"), xytext=(-3, -3), textcoords="offset points",
            ha="right", va="top", color=INK, fontsize="small",
        )  # fmt: skip


def _targets(predictions: Predictions) -> Sequence[tuple[str, float]]:
    return list(predictions.declared.targets.items()) if "compute" in predictions.declared.fits else []
