"""Estimates of declared contrasts with simultaneous confidence intervals.

Model: value = arm + seed block + noise. Arms with the same seed read the same windows and share initial values, so the
seed's effect on all arms cancels in a contrast.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ablate.lessons.contrast import Contrast
from ablate.lessons.critical_values import Bools, CriticalValue, Floats, critical_values, standard_errors

# Required seeds are found by simulation up to this many trials; beyond, errors are taken to shrink as 1/√seeds.
MAX_SIMULATED_TRIALS, MIN_SIMULATED_SEEDS = 400, 16


@dataclass(frozen=True)
class Comparison:
    """A contrast's estimate, in the metric's unit; `low` and `high` are None where the noise is unknown."""

    contrast: Contrast
    difference: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Estimate:
    """All comparisons of one family of contrasts on one metric.

    Attributes:
        comparisons: of the contrasts whose arms all have values.
        means: arm label → mean over seeds.
        seeds: the number of seeds.
        correlation: between two arms under one seed: the fraction of the variance between trials that pairing removes.
        noise: standard deviation of one trial without the seed's effect, in the metric's unit; None with one seed or
            where all seeds gave the same value.
        minimum_detectable_effect: the smallest true difference that is detected with 80% power; None where `noise` is.
        noise_ratio: the largest contrast's standard deviation over the smallest's, divided by their sizes; None with
            one contrast.
    """

    comparisons: tuple[Comparison, ...]
    means: dict[str, float]
    seeds: int
    correlation: float | None
    noise: float | None = None
    minimum_detectable_effect: float | None = None
    noise_ratio: float | None = None


def compare(values: pd.DataFrame, contrasts: Sequence[Contrast], confidence: float, looks: Sequence[int]) -> Estimate:
    """Estimate contrasts from a table of values.

    Args:
        values: one row per arm, one column per seed, no gaps.
        contrasts: those with an arm that is not in the table are left out.
        confidence: the probability that all intervals hold at once, at all looks.
        looks: the declared numbers of seeds. The table's number of seeds counts as a look too, as while trials are
            missing.
    """
    table_AS = values.to_numpy(float)
    means = {str(arm): float(mean) for arm, mean in zip(values.index, table_AS.mean(axis=1), strict=True)}
    possible = [contrast for contrast in contrasts if all(arm in values.index for arm in contrast.weights)]
    seeds = values.shape[1]
    if not possible:
        return Estimate((), means, seeds, correlation(values))
    weights_CA = np.array([[contrast.weights.get(str(arm), 0.0) for arm in values.index] for contrast in possible])
    values_CS = weights_CA @ table_AS
    differences_C = values_CS.mean(axis=1)
    informative_C = _informative(values_CS)
    if seeds < 2 or not informative_C.any():
        bare = (Comparison(contrast, float(d), None, None) for contrast, d in zip(possible, differences_C, strict=True))
        return Estimate(tuple(bare), means, seeds, correlation(values))
    sizes_C = np.sqrt((weights_CA**2).sum(axis=1))
    deviations = values_CS[informative_C].std(axis=1, ddof=1) / sizes_C[informative_C]
    noise = float(np.sqrt((deviations**2).mean()))
    critical = _critical_value(weights_CA[informative_C], seeds, looks, confidence)
    errors_C = standard_errors(values_CS[None], sizes_C, informative_C)[1][0]
    return Estimate(
        tuple(
            Comparison(contrast, float(d), float(d - critical.value * error), float(d + critical.value * error))
            for contrast, d, error in zip(possible, differences_C, errors_C, strict=True)
        ),
        means,
        seeds,
        correlation(values),
        noise=noise,
        minimum_detectable_effect=critical.minimum_detectable_effect * noise,
        noise_ratio=float(deviations.max() / deviations.min()) if len(deviations) > 1 else None,
    )


def _informative(values_CS: Floats) -> Bools:
    """Mark the contrasts that inform about noise: those that vary over seeds, and one of several with equal values."""
    _, first = np.unique(values_CS, axis=0, return_index=True)
    informative_C = np.zeros(len(values_CS), bool)
    informative_C[first] = True
    varies_C: Bools = np.ptp(values_CS, axis=1) > 0
    return informative_C & varies_C


def _critical_value(
    weights_CA: Floats, seeds: int, looks: Sequence[int], confidence: float, *, is_rough: bool = False
) -> CriticalValue:
    used_CA = weights_CA[:, (weights_CA != 0).any(axis=0)]
    all_looks = sorted({seeds, *(look for look in looks if look > 1)})
    weights = tuple(map(tuple, used_CA.tolist()))
    return critical_values(weights, tuple(all_looks), round(1 - confidence, 9), is_rough)[all_looks.index(seeds)]


def correlation(values: pd.DataFrame) -> float | None:
    """Return the intraclass correlation of arms under one seed, from the mean squares of the two-way table.

    None with fewer than two distinct arms or two seeds, or without variance.
    """
    table = np.unique(values.to_numpy(float), axis=0)
    arms, seeds = table.shape
    if arms < 2 or seeds < 2:
        return None
    centred = table - table.mean(axis=1, keepdims=True)
    of_seeds = arms * (centred.mean(axis=0) ** 2).sum() / (seeds - 1)
    residual = ((centred - centred.mean(axis=0)) ** 2).sum() / ((arms - 1) * (seeds - 1))
    total = (of_seeds - residual) / arms + residual
    return float((of_seeds - residual) / arms / total) if total > 0 else None


def seeds_to_detect(
    effect: float, noise: float, weights: Sequence[Sequence[float]], confidence: float, max_seeds: int = 1000
) -> int | None:
    """Return the number of seeds that detect a difference of `effect` with 80% power; None above `max_seeds`.

    Args:
        effect: in the unit of `noise`.
        noise: standard deviation of one trial.
        weights: contrast → weight of each arm.
        confidence: the probability that all intervals hold at once.
        max_seeds: where the search ends.
    """
    weights_CA = np.array(weights)
    max_simulated = max(MIN_SIMULATED_SEEDS, MAX_SIMULATED_TRIALS // weights_CA.shape[1])

    def detects(seeds: int) -> bool:
        simulated = min(seeds, max_simulated)
        critical = _critical_value(weights_CA, simulated, (simulated,), confidence, is_rough=True)
        return critical.minimum_detectable_effect * noise * float(np.sqrt(simulated / seeds)) <= effect

    if not detects(max_seeds):
        return None
    return bisect_left(range(max_seeds + 1), True, lo=2, key=detects)
