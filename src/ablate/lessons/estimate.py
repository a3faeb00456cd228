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
from scipy import stats
from scipy.optimize import brentq

POWER = 0.8
# At 5% the check itself would cost a point of coverage: 94.1% for 95% (LOG.md, 2026-11-23).
VARIANCE_CHECK_LEVEL = 0.01


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
        pooled: whether all arms share one noise; false where the variance-ratio check refused it.
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
    degrees of freedom; where the paired differences' variances differ too much for one noise, each pair has its own,
    with S − 1 degrees and Bonferroni's share of the error.
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
        residual = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
        degrees = count * (seeds - 1)
        noise = math.sqrt((residual**2).sum() / degrees)
        variances = paired.var(axis=1, ddof=1)
        pooled = variances_agree(variances, seeds)
        if pooled:
            critical = dunnett_critical(count, degrees, confidence)
            errors = np.full(count, noise * math.sqrt(2 / seeds))
        else:
            degrees = seeds - 1
            critical = float(stats.t.ppf(1 - (1 - confidence) / (2 * count), degrees))
            errors = np.sqrt(variances / seeds)
        half_widths = [critical * float(error) for error in errors]
        detectable = (critical + float(stats.t.ppf(POWER, degrees))) * float(errors.max())
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


def variances_agree(variances: np.ndarray, seeds: int) -> bool:
    """Whether paired differences look as if they had one variance: an F test of the largest ratio.

    Bonferroni over the pairs; that the differences share a baseline makes it slow to refuse.
    """
    if len(variances) < 2:
        return True
    low, high = float(variances.min()), float(variances.max())
    if low == 0:
        return high == 0
    pairs = len(variances) * (len(variances) - 1) / 2
    return 2 * pairs * float(stats.f.sf(high / low, seeds - 1, seeds - 1)) > VARIANCE_CHECK_LEVEL


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
        return bool((critical + stats.t.ppf(POWER, degrees)) * noise * math.sqrt(2 / seeds) <= effect)

    if not detects(most):
        return None
    return bisect_left(range(most + 1), True, lo=2, key=detects)
