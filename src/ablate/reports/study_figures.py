"""Figures of studies, drawn by Optuna: history, parameter importance, parallel coordinates, Pareto fronts."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import optuna
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization.matplotlib import (
    plot_optimization_history,
    plot_parallel_coordinate,
    plot_param_importances,
    plot_pareto_front,
    plot_slice,
)

from ablate.reports.figure import COLOURS, QUIET, quiet_grid, style

# Parallel coordinates have an axis per parameter.
SIZE_INCHES, WIDE_INCHES, PANEL_AXES = (4.6, 3.2), (6.4, 3.4), 2
HISTORY, VALUES = "History", "Values"
# Optuna draws by tab10 and in shades of blue; these stand out on light and on dark paper.
SHADES = LinearSegmentedColormap.from_list("ablate", [COLOURS[0], COLOURS[4]])
# Optuna draws fronts of two or three metrics.
MAX_METRICS = 3


def study_figures(study: optuna.Study, metrics: Sequence[str]) -> Iterator[tuple[str, Figure]]:
    """Yield the title and figure of each plot that has enough completed trials.

    Save them with `bbox_inches="tight"`: Optuna lays them out for another size.
    """
    for title, draw in _drawings(study, metrics):
        figure = _drawn(draw)
        if figure is not None:
            if title in (HISTORY, VALUES) and len(metrics) == 1:
                _draw_pruned(figure, study, title)
            yield title, figure


def _drawings(study: optuna.Study, metrics: Sequence[str]) -> Iterator[tuple[str, Callable[[], object]]]:
    if len(metrics) == 1:
        yield HISTORY, partial(plot_optimization_history, study, target_name=metrics[0])
    elif len(metrics) <= MAX_METRICS:
        yield "Front", partial(plot_pareto_front, study, target_names=list(metrics))
    completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    varied = {name for trial in completed for name in trial.params}
    for place, metric in enumerate(metrics):
        of_metric = f", {metric}" if len(metrics) > 1 else ""
        target: dict[str, Any] = {"target": partial(_value, place) if len(metrics) > 1 else None, "target_name": metric}
        if len(varied) > 1:
            yield f"Importance{of_metric}", partial(plot_param_importances, study, **target)
            yield f"Parallel coordinates{of_metric}", partial(plot_parallel_coordinate, study, **target)
        else:
            yield f"{VALUES}{of_metric}", partial(plot_slice, study, **target)


def _value(place: int, trial: FrozenTrial) -> float:
    return float(trial.values[place])


def _drawn(draw: Callable[[], object]) -> Figure | None:
    """Return the figure in our style; None with too little to draw, as when all trials share a value."""
    # Optuna changes the global style, and warns that its figures are experimental.
    with style(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            drawn: Any = draw()
        except (ValueError, RuntimeError):
            plt.close()
            return None
        # Plots with a part for each parameter return an array of axes.
        figure = (drawn if isinstance(drawn, Axes) else drawn.flat[0]).figure
        assert isinstance(figure, Figure)
        plt.close(figure)
        figure.set_size_inches(*(WIDE_INCHES if len(figure.axes) > PANEL_AXES else SIZE_INCHES))
        for axis in figure.axes:
            _restyle(axis)
    return figure


def _draw_pruned(figure: Figure, study: optuna.Study, title: str) -> None:
    """Draw the pruned candidates as crosses at their last value before pruning; Optuna draws completed ones alone."""
    pruned = [
        (trial, trial.intermediate_values[max(trial.intermediate_values)])
        for trial in study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
        if trial.intermediate_values
    ]
    axis = figure.axes[0]
    names = [name for trial, _ in pruned for name in trial.params]
    if not pruned or (title == VALUES and not names):
        return
    low, high = axis.get_ylim()
    # Values of early steps are far above; these are drawn at the border.
    top = high + 0.25 * (high - low)
    values = [min(value, top) for _, value in pruned]
    places = [trial.number if title == HISTORY else trial.params[names[0]] for trial, _ in pruned]
    crosses = axis.scatter(places, values, marker="x", color=QUIET, linewidth=1.2, zorder=3)
    axis.set_ylim(low, top + 0.05 * (top - low))
    handles, labels = axis.get_legend_handles_labels() if title == HISTORY else ([], [])
    axis.legend([*handles, crosses], [*labels, "pruned, last value"], frameon=False, fontsize="small")


def _restyle(axis: Axes) -> None:
    axis.set_title("")
    axis.set_title("", loc="left")
    axis.set_facecolor("none")
    for scaled in (axis.xaxis, axis.yaxis):
        if scaled.get_scale() == "log":
            # Plain numbers: a page shows no formulas.
            scaled.set_major_locator(LogLocator(subs=(1.0, 3.0)))
            scaled.set_major_formatter("{x:g}")
            scaled.set_minor_formatter(NullFormatter())
    for side, spine in axis.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(QUIET)
    axis.grid(color=QUIET)
    quiet_grid(axis)
    for drawn in axis.collections:
        if drawn.get_array() is not None:
            drawn.set_cmap(SHADES)
    if legend := axis.get_legend():
        legend.get_frame().set_alpha(0.0)
