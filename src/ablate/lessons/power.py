"""What a verdict costs: how many seeds a difference takes when trials are paired, and when they are not."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from ablate.lessons.critical_values import POWER, Floats
from ablate.lessons.grid_results import GridResults

LEVEL = 0.05
MOST_SEEDS = 100_000


@dataclass(frozen=True)
class Cost:
    """Of telling one difference between two arms from 0, at 5% and with 80% power, nothing else being compared.

    Attributes:
        difference: as measured, in the metric's unit; what the seeds are for.
        paired_deviation: of the difference under one seed.
        deviations: of both arms between seeds.
        correlation: between the arms' values under shared seeds.
        paired_seeds: an arm, by a t test of differences; None above 100 000.
        welch_seeds: an arm, by Welch's test of the same trials as if they were not paired.
    """

    contrast: str
    metric: str
    difference: float
    paired_deviation: float
    deviations: tuple[float, float]
    correlation: float
    paired_seeds: int | None
    welch_seeds: int | None


def costs(results: GridResults) -> list[Cost]:
    """The cost of each declared contrast of two arms, from the trials that there are; at least three seeds."""
    found = []
    for contrast in results.contrasts:
        values = results.values(contrast.metric)
        if sorted(contrast.weights.values()) != [-1.0, 1.0] or not set(contrast.weights) <= set(values.index):
            continue
        [less] = [arm for arm, weight in contrast.weights.items() if weight < 0]
        [more] = [arm for arm, weight in contrast.weights.items() if weight > 0]
        if values.shape[1] >= 3:
            found.append(
                _cost(contrast.name, contrast.metric, *(values.loc[arm].to_numpy(float) for arm in (more, less)))
            )
    return found


def _cost(name: str, metric: str, more: Floats, less: Floats) -> Cost:
    difference = float((more - less).mean())
    paired = float((more - less).std(ddof=1))
    deviations = float(more.std(ddof=1)), float(less.std(ddof=1))
    unpaired = math.hypot(*deviations)
    return Cost(
        contrast=name,
        metric=metric,
        difference=difference,
        paired_deviation=paired,
        deviations=deviations,
        correlation=float(np.corrcoef(more, less)[0, 1]),
        paired_seeds=_seeds(difference, paired, lambda seeds: seeds - 1),
        welch_seeds=_seeds(difference, unpaired, lambda seeds: _welch_degrees(deviations, seeds)),
    )


def _welch_degrees(deviations: tuple[float, float], seeds: int) -> float:
    """Welch and Satterthwaite's degrees of freedom for two arms of so many seeds."""
    one, other = (deviation**2 / seeds for deviation in deviations)
    return (one + other) ** 2 / ((one**2 + other**2) / (seeds - 1))


def _seeds(difference: float, deviation: float, degrees: Callable[[int], float]) -> int | None:
    """The fewest seeds at which a t test of `difference` has the power."""

    def power(seeds: int) -> float:
        free = degrees(seeds)
        critical = stats.t.ppf(1 - LEVEL / 2, free)
        return float(stats.nct.sf(critical, free, abs(difference) * math.sqrt(seeds) / deviation))

    if difference == 0 or deviation == 0:
        return None
    low, high = 2, 2
    while power(high) < POWER:
        low, high = high, 2 * high
        if high > MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return low if power(low) >= POWER else high


def cost_table(found: list[Cost], lesson: str) -> pd.DataFrame:
    """A row per contrast of a lesson, for people."""
    return pd.DataFrame(
        [
            {
                "lesson": lesson,
                "comparison": cost.contrast,
                "metric": cost.metric,
                "difference": f"{cost.difference:+.4f}",
                "deviation of the difference": f"{cost.paired_deviation:.4f}",
                "of the arms": f"{cost.deviations[0]:.4f}, {cost.deviations[1]:.4f}",
                "correlation": f"{cost.correlation:.2f}",
                "seeds, paired": str(cost.paired_seeds or f"> {MOST_SEEDS}"),
                "seeds, Welch": str(cost.welch_seeds or f"> {MOST_SEEDS}"),
            }
            for cost in found
        ]
    )
