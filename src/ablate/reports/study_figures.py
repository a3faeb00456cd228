"""Figures of studies, drawn by Optuna: history, parameter importance, parallel coordinates, Pareto fronts."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import optuna
from matplotlib.axes import Axes
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

from ablate.reports.figure import QUIET, quiet_grid

SIZE_INCHES = (6.4, 3.4)
# Optuna draws fronts of two or three metrics.
MAX_METRICS = 3


def study_figures(study: optuna.Study, metrics: Sequence[str]) -> Iterator[tuple[str, Figure]]:
    """Yield the title and figure of each plot that has enough completed trials.

    Save them with `bbox_inches="tight"`: Optuna lays them out for another size.
    """
    for title, draw in _drawings(study, metrics):
        figure = _drawn(draw)
        if figure is not None:
            yield title, figure


def _drawings(study: optuna.Study, metrics: Sequence[str]) -> Iterator[tuple[str, Callable[[], object]]]:
    if len(metrics) == 1:
        yield "History", partial(plot_optimization_history, study, target_name=metrics[0])
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
            yield f"Values{of_metric}", partial(plot_slice, study, **target)


def _value(place: int, trial: FrozenTrial) -> float:
    return float(trial.values[place])


def _drawn(draw: Callable[[], object]) -> Figure | None:
    """Return the figure in our style; None with too little to draw, as when all trials share a value."""
    # Optuna changes the global style, and warns that its figures are experimental.
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
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
        figure.set_size_inches(*SIZE_INCHES)
        for axis in figure.axes:
            _restyle(axis)
    return figure


def _restyle(axis: Axes) -> None:
    axis.set_title("")
    axis.set_title("", loc="left")
    axis.set_facecolor("none")
    for scaled in (axis.xaxis, axis.yaxis):
        if scaled.get_scale() == "log":
            # Plain numbers: a page shows no formulas.
            scaled.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            scaled.set_major_formatter("{x:g}")
            scaled.set_minor_formatter(NullFormatter())
    for side, spine in axis.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(QUIET)
    axis.grid(color=QUIET)
    quiet_grid(axis)
    if legend := axis.get_legend():
        legend.get_frame().set_alpha(0.0)
