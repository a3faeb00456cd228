"""The effect that a grid will be able to detect, and the trials that its looks will take."""

from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from ablate.evaluation.suite import metric_of
from ablate.grid.grid import Grid
from ablate.lessons.contrast import merged
from ablate.lessons.noise import SeenNoise
from ablate.records.ledger import Ledger

if TYPE_CHECKING:
    from ablate.lessons.looks import Weights


@dataclass(frozen=True)
class PlannedEffect:
    """What a grid's comparisons on its primary metric will be able to tell.

    Attributes:
        smallest_effect: the smallest one that is declared for a comparison.
        detectable_effect: the smallest true difference that the last look detects with 80% power; None where the
            ledger knows no noise, or arms have one seed.
        expected_trials: mean number of trials of the grid, finished ones included, if no arm differs; None where
            `detectable_effect` is.
        seeds: of each arm at the last look.
        noise: what both are computed from.
    """

    metric: str
    unit: str
    smallest_effect: float
    detectable_effect: float | None
    expected_trials: float | None
    seeds: int
    noise: SeenNoise | None


def planned_effect(grid: Grid, parameters: float) -> PlannedEffect | None:
    """Return what a grid will be able to tell; None where it compares nothing on its primary metric.

    Args:
        parameters: of its arms.
    """
    declaration = grid.declaration
    weights, effects = _comparisons(grid)
    if not weights:
        return None
    metric = declaration.primary_metric
    tokens = median(cell.trial.budget.train_tokens for cell in grid.cells)
    noise = _noise(grid.ledger, metric, parameters, tokens)
    looks = [look for look in declaration.looks if look > 1]
    planned = PlannedEffect(metric, metric_of(metric).unit, min(effects), None, None, grid.looks[-1], noise)
    if noise is None or not looks:
        return planned
    # Imports scipy.
    from ablate.lessons.looks import outlook

    sharing = declaration.planned_comparisons or len(declaration.contrasts)
    error = (1 - declaration.confidence) * len(weights) / sharing
    forecast = outlook(weights, looks, error, noise, effects)
    distinct = [arm for arm in grid.arms if arm.same_as is None]
    # Arms that no comparison has stay at the first look.
    others = len(distinct) - len(weights[0])
    trials = forecast.expected_trials + others * grid.looks[0]
    return replace(planned, detectable_effect=forecast.detectable_effect, expected_trials=trials)


def _noise(ledger: Ledger, metric: str, parameters: float, tokens: float) -> SeenNoise | None:
    if not (grids := ledger.grids([])):
        return None
    # Import scipy and pandas.
    from ablate.lessons.seen_noise import seen_noise
    from ablate.records.ledger_logs import LedgerLogs

    logs = LedgerLogs(ledger)
    return seen_noise(logs, grids, metric, parameters=parameters, train_tokens=tokens)


def _comparisons(grid: Grid) -> tuple["Weights", list[float]]:
    """Return the weights of the arms in each contrast on the primary metric, and the contrasts' smallest effects."""
    owner = {arm.label: arm.same_as or arm.label for arm in grid.at(grid.looks[-1]).arms}
    declaration = grid.declaration
    contrasts = [
        (weights, contrast.smallest_effect or declaration.smallest_effect)
        for contrast in declaration.contrasts
        if contrast.metric == declaration.primary_metric and (weights := merged(contrast.weights, owner))
    ]
    used = dict.fromkeys(arm for weights, _ in contrasts for arm in weights)
    return (
        tuple(tuple(weights.get(arm, 0.0) for arm in used) for weights, _ in contrasts),
        [effect for _, effect in contrasts],
    )
