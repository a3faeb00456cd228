"""How many seeds a t test needs to detect a measured difference, with trials paired by seed and without."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ablate.lessons.critical_values import POWER, Floats
from ablate.lessons.grid_results import GridResults

LEVEL = 0.05
MIN_SEEDS, MAX_SEEDS = 3, 100_000


@dataclass(frozen=True)
class RequiredSeeds:
    """The seeds per arm that detect one contrast of two arms at the 5% level with 80% power, with no other contrast.

    Attributes:
        contrast: its name.
        metric: the metric of the contrast.
        difference: as measured, in the metric's unit; the true difference is assumed to be as large.
        paired_deviation: standard deviation over seeds of the difference.
        deviations: standard deviations over seeds of the two arms.
        correlation: between the arms' values under shared seeds.
        paired: seeds for a t test of the differences; None above 100 000.
        welch: seeds for Welch's test of the same trials as if unpaired; None above 100 000.
    """

    contrast: str
    metric: str
    difference: float
    paired_deviation: float
    deviations: tuple[float, float]
    correlation: float
    paired: int | None
    welch: int | None


def required_seeds(results: GridResults) -> Iterator[RequiredSeeds]:
    """Yield the required seeds of each declared contrast of two arms that have at least three seeds."""
    for contrast in results.contrasts:
        values = results.paired_values(contrast)
        by_weight = {weight: arm for arm, weight in contrast.weights.items()}
        is_of_two = sorted(contrast.weights.values()) == [-1.0, 1.0]
        if is_of_two and values.shape[1] >= MIN_SEEDS:
            plus, minus = (values.loc[by_weight[weight]].to_numpy(float) for weight in (1.0, -1.0))
            yield _required_seeds(contrast.name, contrast.metric, plus, minus)


def _required_seeds(name: str, metric: str, plus: Floats, minus: Floats) -> RequiredSeeds:
    difference = float((plus - minus).mean())
    paired = float((plus - minus).std(ddof=1))
    deviations = float(plus.std(ddof=1)), float(minus.std(ddof=1))
    return RequiredSeeds(
        contrast=name,
        metric=metric,
        difference=difference,
        paired_deviation=paired,
        deviations=deviations,
        correlation=float(np.corrcoef(plus, minus)[0, 1]),
        paired=_seeds(difference, paired, lambda seeds: seeds - 1),
        welch=_seeds(difference, math.hypot(*deviations), lambda seeds: _welch_degrees(deviations, seeds)),
    )


def _welch_degrees(deviations: tuple[float, float], seeds: int) -> float:
    """Return the degrees of freedom of Welch and Satterthwaite for two arms of `seeds` each."""
    first, second = (deviation**2 / seeds for deviation in deviations)
    return (first + second) ** 2 / ((first**2 + second**2) / (seeds - 1))


def _seeds(difference: float, deviation: float, degrees: Callable[[int], float]) -> int | None:
    """Return the fewest seeds at which a t test of `difference` has the power."""

    def power(seeds: int) -> float:
        free = degrees(seeds)
        critical = stats.t.ppf(1 - LEVEL / 2, free)
        return float(stats.nct.sf(critical, free, abs(difference) * math.sqrt(seeds) / deviation))

    if difference == 0 or deviation == 0:
        return None
    low, high = 2, 2
    while power(high) < POWER:
        low, high = high, 2 * high
        if high > MAX_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return low if power(low) >= POWER else high
