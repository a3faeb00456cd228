"""Estimates of declared contrasts, with intervals that hold together.

Model: value = arm + seed block + noise. Arms with the same seed read the same windows and share initial values, so a
contrast within a seed is free of what the seed does to all of them.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ablate.lessons.contrast import Contrast
from ablate.lessons.critical_values import Bools, CriticalValue, Floats, critical_values, standard_errors

# Up to so many trials the seeds that would be needed are found by simulation; beyond it errors shrink with the root.
MOST_SIMULATED_TRIALS, LEAST_SIMULATED_SEEDS = 400, 16


@dataclass(frozen=True)
class Comparison:
    """A contrast's estimate, in the metric's unit; `low` and `high` are None where no noise is known."""

    contrast: Contrast
    difference: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Estimate:
    """All comparisons of one family on one metric.

    Attributes:
        comparisons: of the contrasts whose arms are all there.
        means: of each arm over the seeds.
        seeds: S.
        correlation: between two arms under one seed: the share of the variance between trials that pairing takes out.
        noise: standard deviation of one trial, the seed's own effect aside, in the metric's unit; None with one seed
            or where all seeds gave one value.
        detectable: the smallest true difference that is told from 0 with 80% power; None where noise is None.
        loudest: the largest contrast's standard deviation over the smallest's, sizes aside; None with one contrast.
    """

    comparisons: tuple[Comparison, ...]
    means: dict[str, float]
    seeds: int
    correlation: float | None
    noise: float | None = None
    detectable: float | None = None
    loudest: float | None = None


def compare(values: pd.DataFrame, contrasts: Sequence[Contrast], confidence: float, looks: Sequence[int]) -> Estimate:
    """The contrasts of a table of values.

    Args:
        values: one row per arm, one column per seed, no gaps.
        contrasts: what is compared; one whose arms are not all there is left out.
        confidence: that all intervals hold at once, at all looks.
        looks: the declared numbers of seeds; where there are other seeds than at one of them, as while trials are
            missing, their number takes its place.
    """
    table_AS = values.to_numpy(float)
    means = {str(arm): float(mean) for arm, mean in zip(values.index, table_AS.mean(axis=1), strict=True)}
    made = [contrast for contrast in contrasts if all(arm in values.index for arm in contrast.weights)]
    seeds = values.shape[1]
    if not made:
        return Estimate((), means, seeds, correlation(values))
    weights_CA = np.array([[contrast.weights.get(str(arm), 0.0) for arm in values.index] for contrast in made])
    values_CS = weights_CA @ table_AS
    differences_C = values_CS.mean(axis=1)
    telling_C = _telling(values_CS)
    if seeds < 2 or not telling_C.any():
        bare = (Comparison(contrast, float(d), None, None) for contrast, d in zip(made, differences_C, strict=True))
        return Estimate(tuple(bare), means, seeds, correlation(values))
    sizes_C = np.sqrt((weights_CA**2).sum(axis=1))
    deviations = values_CS[telling_C].std(axis=1, ddof=1) / sizes_C[telling_C]
    noise = float(np.sqrt((deviations**2).mean()))
    boundary = _boundary(weights_CA[telling_C], seeds, looks, confidence)
    errors_C = standard_errors(values_CS[None], sizes_C, telling_C)[1][0]
    return Estimate(
        tuple(
            Comparison(contrast, float(d), float(d - boundary.critical * error), float(d + boundary.critical * error))
            for contrast, d, error in zip(made, differences_C, errors_C, strict=True)
        ),
        means,
        seeds,
        correlation(values),
        noise=noise,
        detectable=boundary.detectable * noise,
        loudest=float(deviations.max() / deviations.min()) if len(deviations) > 1 else None,
    )


def _telling(values_CS: Floats) -> Bools:
    """The contrasts that say something of the noise: not those of arms equal to the last digit, and of twins one."""
    _, first = np.unique(values_CS, axis=0, return_index=True)
    telling_C = np.zeros(len(values_CS), bool)
    telling_C[first] = True
    spread_C: Bools = np.ptp(values_CS, axis=1) > 0
    return telling_C & spread_C


def _boundary(
    weights_CA: Floats, seeds: int, looks: Sequence[int], confidence: float, *, is_rough: bool = False
) -> CriticalValue:
    used_CA = weights_CA[:, (weights_CA != 0).any(axis=0)]
    at = sorted({seeds, *(look for look in looks if look > 1)})
    found = critical_values(tuple(map(tuple, used_CA.tolist())), tuple(at), round(1 - confidence, 9), is_rough)
    return found[at.index(seeds)]


def correlation(values: pd.DataFrame) -> float | None:
    """Between two arms under one seed: what the seed block is of the variance, by the two-way table's mean squares.

    None where fewer than two arms or seeds, or no variance, are there.
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
    effect: float, noise: float, weights: Sequence[Sequence[float]], confidence: float, most: int = 1000
) -> int | None:
    """How many seeds would tell a difference of `effect` from 0 with 80% power at this noise; None above `most`.

    Args:
        effect: in the unit of `noise`.
        noise: of one trial.
        weights: of each contrast, by arm.
        confidence: that all intervals hold at once.
    """
    weights_CA = np.array(weights)
    most_simulated = max(LEAST_SIMULATED_SEEDS, MOST_SIMULATED_TRIALS // weights_CA.shape[1])

    def detects(seeds: int) -> bool:
        simulated = min(seeds, most_simulated)
        boundary = _boundary(weights_CA, simulated, (simulated,), confidence, is_rough=True)
        return boundary.detectable * noise * float(np.sqrt(simulated / seeds)) <= effect

    if not detects(most):
        return None
    return bisect_left(range(most + 1), True, lo=2, key=detects)
