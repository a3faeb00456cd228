"""Estimates of declared contrasts with simultaneous confidence intervals.

Model: value = arm + seed block + noise. Arms with the same seed read the same windows and share initial values, so the
seed's effect on all arms cancels in a contrast. Shapes: `C` contrasts, `S` seeds.
Arms may have unequal numbers of seeds.

An interval covers other seeds and other held-out documents. Its half width is √(seeds² + documents²), where both are a
critical value × a standard error (Howe 1974): few degrees of freedom widen the part of the seeds alone.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import hypot, sqrt

import numpy as np
import pandas as pd

from ablate.lessons.contrast import Contrast
from ablate.lessons.critical_values import (
    CriticalValue,
    Floats,
    critical_values,
    of_degrees,
    standard_errors,
)
from ablate.lessons.variance import VarianceComponents, variance_components

# Contrast → weight of each arm.
Weights = tuple[tuple[float, ...], ...]
# Values that differ by less than this fraction of their size are equal up to rounding.
ROUNDING = 1e-9
# Required seeds are found by simulation up to this many trials; beyond, errors are taken to shrink as 1/√seeds.
MAX_SIMULATED_TRIALS, MIN_SIMULATED_SEEDS = 400, 16


@dataclass(frozen=True)
class Comparison:
    """A contrast's estimate, in the metric's unit.

    Attributes:
        difference: the mean over the seeds that all arms of the contrast have.
        seeds: the number of these seeds.
        low: the lower end of the simultaneous interval over seeds and documents; None where the noise is unknown.
        high: the upper end.
        margin: the contrast is equivalent within every smallest effect larger than this; None where the noise is
            unknown. It lies inside the interval's larger end, because equivalence is a one-sided question.
        low_over_seeds: the lower end of the interval over other seeds on the same documents.
        high_over_seeds: its upper end.
        variance: the components of the difference; None where nothing is known of other documents, and then the two
            intervals are the same.
    """

    contrast: Contrast
    difference: float
    seeds: int
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    low_over_seeds: float | None = None
    high_over_seeds: float | None = None
    variance: VarianceComponents | None = None

    @property
    def document_error(self) -> float | None:
        """The standard error that other documents add; None where it is unknown."""
        return None if self.variance is None else sqrt(self.variance.document)


@dataclass(frozen=True)
class Estimate:
    """All comparisons of one family of contrasts on one metric.

    Attributes:
        comparisons: of the contrasts whose arms have a seed in common.
        means: arm label → mean over its seeds.
        seeds: the largest number of seeds of an arm.
        correlation: between two arms under one seed: the fraction of the variance between trials that pairing removes.
        noise: standard deviation of one trial without the seed's effect, in the metric's unit; None with one seed or
            where all seeds gave the same value.
        minimum_detectable_effect: the smallest true difference that is detected with 80% power; None where `noise` is.
        document_error: the largest standard error that other documents add; 0 where it is unknown.
        decidable_by_documents: the smallest effect that any number of seeds decides on these documents.
        noise_ratio: the largest contrast's standard deviation over the smallest's, divided by their sizes; None with
            one contrast.
    """

    comparisons: tuple[Comparison, ...]
    means: dict[str, float]
    seeds: int
    correlation: float | None
    noise: float | None = None
    minimum_detectable_effect: float | None = None
    document_error: float = 0.0
    decidable_by_documents: float = 0.0
    noise_ratio: float | None = None


# Contrast's name → source → contributions of documents (see `documents.py`).
Contributions = Mapping[str, Mapping[str, Floats]]


def compare(
    values: pd.DataFrame,
    contrasts: Sequence[Contrast],
    confidence: float,
    looks: Sequence[int],
    contributions: Contributions | None = None,
) -> Estimate:
    """Estimate contrasts from a table of values.

    Args:
        values: one row per arm, one column per seed; NaN where an arm has no trial of a seed.
        contrasts: those whose arms have no seed in common are left out.
        confidence: the probability that all intervals hold at once, at all looks.
        looks: the declared numbers of seeds. The number of seeds of each contrast counts as a look too, as while trials
            are missing.
        contributions: of documents, by contrast. The intervals of others cover other seeds alone.
    """
    means = {str(arm): float(mean) for arm, mean in values.mean(axis="columns").items()}
    table = values.to_numpy(float)
    rows = dict(zip(means, table, strict=True))
    estimate = Estimate((), means, values.shape[1], correlation(table[:, ~np.isnan(table).any(axis=0)]))
    series = [(contrast, of_seeds) for contrast in contrasts if len(of_seeds := _series(contrast, rows))]
    resolution = ROUNDING * float(np.nanmax(np.abs(table), initial=0.0))
    counts = sorted({len(of_seeds) for _, of_seeds in series})
    noises = {seeds: noise for seeds in counts if (noise := _Noise.of(series, seeds, resolution)) is not None}
    comparisons = [
        Comparison(
            contrast, float(of_seeds.mean()), len(of_seeds), variance=_variance(contrast, of_seeds, contributions)
        )
        for contrast, of_seeds in series
    ]
    if not noises:
        return replace(estimate, comparisons=tuple(comparisons))
    most = max(noises)
    weights = _weights(noises[most].informative, list(rows))
    critical = _critical_values(weights, [*looks, *counts], confidence)
    # A contrast that was decided at an earlier look keeps the interval that it had there.
    errors = [
        noises[each.seeds].errors.get(each.contrast.name) if each.seeds in noises else None for each in comparisons
    ]
    document_error = max(each.document_error or 0.0 for each in comparisons)
    by_documents = critical[most].detectable_by_known * document_error
    return replace(
        estimate,
        comparisons=tuple(
            each if error is None else _with_interval(each, error, critical[each.seeds])
            for each, error in zip(comparisons, errors, strict=True)
        ),
        noise=noises[most].deviation,
        minimum_detectable_effect=hypot(
            critical[most].minimum_detectable_effect * noises[most].deviation, by_documents
        ),
        document_error=document_error,
        decidable_by_documents=critical[most].decidable_by_known * document_error,
        noise_ratio=noises[most].ratio,
    )


@dataclass(frozen=True)
class _Noise:
    """The noise that contrasts show up to some number of seeds.

    Attributes:
        errors: contrast's name → standard error, of the contrasts that vary.
        informative: the contrasts that inform about noise.
        deviation: root mean square of their standard deviations, each divided by the contrast's size.
        ratio: the largest of these standard deviations over the smallest; None of one.
    """

    errors: dict[str, float]
    informative: list[Contrast]
    deviation: float
    ratio: float | None

    @classmethod
    def of(cls, series: Sequence[tuple[Contrast, Floats]], seeds: int, resolution: float) -> "_Noise | None":
        """Return the noise over the first `seeds` seeds; None where no contrast varies by more than `resolution`."""
        seen = [(contrast, of_seeds[:seeds]) for contrast, of_seeds in series]
        varying = [(contrast, of_seeds) for contrast, of_seeds in seen if np.ptp(of_seeds) > resolution]
        if not varying:
            return None
        sizes_C = np.array([contrast.size for contrast, _ in varying])
        seeds_C = np.array([len(of_seeds) for _, of_seeds in varying])
        deviations_C = np.array([of_seeds.std(ddof=1) for _, of_seeds in varying])
        # Of several contrasts with the same values, the first one informs about noise.
        firsts = {tuple(of_seeds): index for index, (_, of_seeds) in reversed(list(enumerate(varying)))}
        informative_C = np.isin(np.arange(len(varying)), list(firsts.values()))
        errors_C = standard_errors(deviations_C**2, seeds_C, sizes_C, informative_C)
        ratios = (deviations_C / sizes_C)[informative_C]
        return cls(
            {contrast.name: float(error) for (contrast, _), error in zip(varying, errors_C, strict=True)},
            [varying[index][0] for index in sorted(firsts.values())],
            deviation=float(np.sqrt((ratios**2).mean())),
            ratio=float(ratios.max() / ratios.min()) if len(ratios) > 1 else None,
        )


def _series(contrast: Contrast, rows: Mapping[str, Floats]) -> Floats:
    """Return a contrast's value under each seed that all of its arms have."""
    if not contrast.weights.keys() <= rows.keys():
        return np.empty(0)
    sums: Floats = np.array(list(contrast.weights.values())) @ np.array([rows[arm] for arm in contrast.weights])
    return sums[~np.isnan(sums)]


def _variance(contrast: Contrast, of_seeds: Floats, contributions: Contributions | None) -> VarianceComponents | None:
    of_contrast = (contributions or {}).get(contrast.name)
    return variance_components(of_seeds, of_contrast) if of_contrast else None


def _with_interval(comparison: Comparison, error: float, critical: CriticalValue) -> Comparison:
    """Return a comparison with its intervals; `error` is its standard error over seeds."""
    two_sided, one_sided = critical.value * error, critical.equivalence * error
    half, margin = two_sided, one_sided
    if variance := comparison.variance:
        documents = sqrt(variance.document)
        half = hypot(half, of_degrees(critical.known, variance.document_degrees) * documents)
        margin = hypot(margin, of_degrees(critical.known_equivalence, variance.document_degrees) * documents)
    return replace(
        comparison,
        low=comparison.difference - half,
        high=comparison.difference + half,
        margin=abs(comparison.difference) + margin,
        low_over_seeds=comparison.difference - two_sided,
        high_over_seeds=comparison.difference + two_sided,
    )


def _weights(contrasts: Sequence[Contrast], arms: Sequence[str]) -> Weights:
    """Return contrast → weight of each arm that a contrast has."""
    used = {arm for contrast in contrasts for arm in contrast.weights}
    return tuple(tuple(contrast.weights.get(arm, 0.0) for arm in arms if arm in used) for contrast in contrasts)


def _critical_values(
    weights: Weights, looks: Sequence[int], confidence: float, *, is_rough: bool = False
) -> dict[int, CriticalValue]:
    """Return the critical values by number of seeds."""
    distinct = tuple(sorted({look for look in looks if look > 1}))
    return dict(zip(distinct, critical_values(weights, distinct, round(1 - confidence, 9), is_rough), strict=True))


def correlation(values_AS: Floats) -> float | None:
    """Return the intraclass correlation of arms under one seed, from the mean squares of the two-way table.

    `values_AS` has no NaN. None with fewer than two distinct arms or two seeds, or without variance.
    """
    table = np.unique(values_AS, axis=0)
    arms, seeds = table.shape
    if arms < 2 or seeds < 2:
        return None
    centred = table - table.mean(axis=1, keepdims=True)
    of_seeds = arms * (centred.mean(axis=0) ** 2).sum() / (seeds - 1)
    residual = ((centred - centred.mean(axis=0)) ** 2).sum() / ((arms - 1) * (seeds - 1))
    total = (of_seeds - residual) / arms + residual
    return float((of_seeds - residual) / arms / total) if total > 0 else None


def seeds_to_decide(
    effect: float,
    noise: float,
    weights: Sequence[Sequence[float]],
    confidence: float,
    looks: Sequence[int] = (),
    document_error: float = 0.0,
    max_seeds: int = 1000,
) -> int | None:
    """Return the number of seeds that decide an effect with 80% power (see `CriticalValue`); None above `max_seeds`.

    Args:
        effect: the smallest that matters, in the unit of `noise`.
        noise: standard deviation of one trial.
        weights: contrast → weight of each arm.
        confidence: the probability that all intervals hold at once.
        looks: numbers of seeds over which the error is spent as well.
        document_error: the standard error that documents add, however many seeds there are.
        max_seeds: where the search ends.
    """
    max_simulated = max(MIN_SIMULATED_SEEDS, MAX_SIMULATED_TRIALS // len(weights[0]))

    def decides(seeds: int) -> bool:
        simulated = min(seeds, max_simulated)
        # Looks beyond what is simulated are left out; earlier ones have spent their error.
        numbers = [simulated, *(look for look in looks if look <= max_simulated)]
        critical = _critical_values(tuple(map(tuple, weights)), numbers, confidence, is_rough=True)[simulated]
        of_seeds = critical.decidable_effect * noise * float(np.sqrt(simulated / seeds))
        return hypot(of_seeds, critical.decidable_by_known * document_error) <= effect

    if not decides(max_seeds):
        return None
    return bisect_left(range(max_seeds + 1), True, lo=2, key=decides)
