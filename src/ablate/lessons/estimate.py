"""Differences between arms, with simultaneous intervals.

Model: value = arm + seed block + noise. Arms with the same seed read the same windows and share initial values, so the
block takes out what the seed does to all of them. Shapes: `A` arms, `S` seeds; k = A − 1 comparisons to one baseline.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq

POWER = 0.8
NOISE_CHECK_DRAWS = 20_000
NOISE_CHECK_LEVEL = 0.01


@dataclass(frozen=True)
class Difference:
    """An arm minus the baseline, in the metric's unit; `low` and `high` are None with one seed."""

    arm: str
    mean: float
    difference: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Estimate:
    """All comparisons of one metric.

    Attributes:
        baseline_mean: of the baseline over the seeds.
        differences: one per other arm.
        seeds: S.
        noise: residual standard deviation of one trial, in the metric's unit; None with one seed.
        degrees: of freedom of the noise.
        pooled: whether all arms share one noise; false where the arms are unequally noisy.
        detectable: the smallest true difference that the interval would exclude from 0 with 80% power.
    """

    baseline: str
    baseline_mean: float
    differences: tuple[Difference, ...]
    seeds: int
    noise: float | None
    degrees: int
    pooled: bool
    detectable: float | None


def compare(values: pd.DataFrame, baseline: str, confidence: float) -> Estimate:
    """Each arm against the baseline, with intervals that hold together.

    Args:
        values: one row per arm, one column per seed, no gaps.
        baseline: a row's label.
        confidence: that all intervals cover at once.

    Pooled noise takes Dunnett's critical value (many comparisons to one control, JASA 1955) with (A − 1)(S − 1)
    degrees of freedom; where the arms are too unequally noisy for one noise, each pair has its own, with S − 1 degrees
    and Bonferroni's share of the error.
    """
    table = values.to_numpy(float)
    seeds = table.shape[1]
    others = [arm for arm in values.index if arm != baseline]
    paired = values.loc[others].to_numpy(float) - values.loc[baseline].to_numpy(float)
    means = paired.mean(axis=1)
    count = len(others)
    pooled = True
    noise = detectable = None
    degrees = 0
    half_widths: list[float] | None = None
    if seeds > 1 and count > 0:
        # An arm that repeats another to the last digit knows nothing new of the noise.
        distinct = values.drop_duplicates().to_numpy(float)
        residual = distinct - distinct.mean(axis=1, keepdims=True) - distinct.mean(axis=0, keepdims=True)
        squares = ((residual + distinct.mean()) ** 2).sum(axis=1)
        degrees = max(1, len(distinct) - 1) * (seeds - 1)
        noise = math.sqrt(squares.sum() / degrees)
        pooled = noise_is_equal(squares, seeds)
        if pooled:
            critical = dunnett_critical(count, degrees, confidence)
            errors = np.full(count, noise * math.sqrt(2 / seeds))
        else:
            degrees = seeds - 1
            critical = float(stats.t.ppf(1 - (1 - confidence) / (2 * count), degrees))
            errors = paired.std(axis=1, ddof=1) / math.sqrt(seeds)
        half_widths = [critical * float(error) for error in errors]
        detectable = _detectable_errors(critical, degrees) * float(errors.max())
    return Estimate(
        baseline=baseline,
        baseline_mean=float(values.loc[baseline].to_numpy(float).mean()),
        differences=tuple(
            Difference(
                arm=arm,
                mean=float(values.loc[arm].to_numpy(float).mean()),
                difference=float(mean),
                low=None if half_widths is None else float(mean) - half_widths[index],
                high=None if half_widths is None else float(mean) + half_widths[index],
            )
            for index, (arm, mean) in enumerate(zip(others, means, strict=True))
        ),
        seeds=seeds,
        noise=noise,
        degrees=degrees,
        pooled=pooled,
        detectable=detectable,
    )


def noise_is_equal(squares: NDArray[np.float64], seeds: int) -> bool:
    """Whether all arms, the baseline among them, look equally noisy.

    Cochran's C (the largest arm's share of all residual squares), its null simulated for residuals of the block model.

    Args:
        squares: each arm's sum of squared residuals.
        seeds: S.
    """
    if len(squares) < 3 or squares.sum() == 0:
        # Two arms have the same residuals, but for the sign.
        return True
    return bool(squares.max() / squares.sum() <= _cochran_critical(len(squares), seeds))


@lru_cache
def _cochran_critical(arms: int, seeds: int) -> float:
    draws, shares = np.random.default_rng(0), []
    # In parts of some 8 MB, however many arms there are.
    part = max(1, 1_000_000 // (arms * seeds))
    for first in range(0, NOISE_CHECK_DRAWS, part):
        noise = draws.normal(size=(min(part, NOISE_CHECK_DRAWS - first), arms, seeds))
        noise -= noise.mean(axis=1, keepdims=True)
        noise -= noise.mean(axis=2, keepdims=True)
        squares = (noise**2).sum(axis=2)
        shares.append(squares.max(axis=1) / squares.sum(axis=1))
    return float(np.quantile(np.concatenate(shares), 1 - NOISE_CHECK_LEVEL))


def _detectable_errors(critical: float, degrees: int) -> float:
    """The true difference, in standard errors, that exceeds the critical value with 80% power: noncentral t."""
    excess = brentq(lambda shift: stats.nct.sf(critical, degrees, shift) - POWER, 0.0, 5 * critical + 10)
    return float(excess)


@lru_cache
def dunnett_critical(comparisons: int, degrees: int, confidence: float) -> float:
    """The two-sided critical value of Dunnett's test at equal numbers of seeds: correlation 1/2 between comparisons.

    P(max |T| ≤ c) is an integral over the shared baseline's deviate and over the noise's estimate.
    """
    if comparisons == 1:
        return float(stats.t.ppf((1 + confidence) / 2, degrees))
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    shared, shared_weight = nodes[:, None], (weights / weights.sum())[:, None]
    quantiles = (np.arange(400) + 0.5) / 400
    scale = np.sqrt(stats.chi2.ppf(quantiles, degrees) / degrees)[None, :]

    def coverage(critical: float) -> float:
        reach = math.sqrt(2) * critical * scale
        inside = stats.norm.cdf(shared + reach) - stats.norm.cdf(shared - reach)
        return float((shared_weight * inside**comparisons).sum(axis=0).mean())

    # Between one comparison's value and Bonferroni's lies Dunnett's.
    least = float(stats.t.ppf((1 + confidence) / 2, degrees))
    most = float(stats.t.ppf(1 - (1 - confidence) / (2 * comparisons), degrees))
    return float(brentq(lambda critical: coverage(critical) - confidence, 0.9 * least, 1.1 * most))


def seeds_to_detect(effect: float, noise: float, comparisons: int, confidence: float, most: int = 1000) -> int | None:
    """How many seeds would detect a difference of `effect` with 80% power at this noise; None above `most`."""

    def detects(seeds: int) -> bool:
        degrees = comparisons * (seeds - 1)
        critical = dunnett_critical(comparisons, degrees, confidence)
        return _detectable_errors(critical, degrees) * noise * math.sqrt(2 / seeds) <= effect

    if not detects(most):
        return None
    return bisect_left(range(most + 1), True, lo=2, key=detects)
