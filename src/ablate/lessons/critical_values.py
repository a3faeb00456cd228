"""Simultaneous critical values over all contrasts and interim looks, in standard errors.

They are quantiles of the statistic that a lesson computes, simulated from noise alone, so they account for arms that
contrasts share, seeds that looks share, and the few seeds that the noise is estimated from.
Shapes: `N` draws, `L` looks, `C` contrasts, `A` arms, `S` seeds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats
from scipy.optimize import brentq

POWER = 0.8
# Degrees of freedom given to the variance that all contrasts share, beside a contrast's own S − 1.
SHARED_DEGREES = 3
# The critical values hold for equally noisy arms, and where any one arm is this many times as noisy.
NOISIER = 3.0
# With so few seeds they also hold where it is this many times as noisy, which is the least favourable there: that arm
# determines the variance of its comparisons, so the others tell nothing about it. Arms that nearly equal the baseline
# leave the remaining one alone in the same way. With more seeds this hardly adds to the error (docs/statistics.md).
FEW_SEEDS, MUCH_NOISIER = 3, 10.0
# The number of draws is limited by the numbers that they take. Planning takes fewer.
MAX_NUMBERS, MIN_DRAWS, MAX_DRAWS = 20_000_000, 5_000, 100_000
ROUGH_DIVISOR = 10

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class CriticalValue:
    """The critical values of one look, in standard errors.

    Attributes:
        value: an estimate farther than this from 0 is significant.
        equivalence: an estimate that lies at least this far inside ± the smallest effect is equivalent.
        minimum_detectable_effect: the smallest true difference that the look detects with 80% power, for the contrast
            with the largest `size`, in standard deviations of one trial's noise.
        decidable_effect: the smallest effect that the look decides: it detects such a difference with 80% power, and
            calls that contrast equivalent with 80% probability where there is none.
        known: like `value`, where the noise is known and the same at all looks.
        known_equivalence: like `equivalence`, there.
    """

    value: float
    equivalence: float
    minimum_detectable_effect: float
    decidable_effect: float
    known: float
    known_equivalence: float

    @property
    def detectable_by_known(self) -> float:
        """The difference that is detected with 80% power, in standard errors of known noise alone."""
        return self.known + float(stats.norm.ppf(POWER))

    @property
    def decidable_by_known(self) -> float:
        """The effect that is decided with 80% probability, in standard errors of known noise alone."""
        return max(self.detectable_by_known, self.known_equivalence + float(stats.norm.ppf((1 + POWER) / 2)))


def standard_errors(
    variances_NC: Floats, seeds_C: NDArray[np.int64] | int, sizes_C: Floats, informative_C: Bools | None = None
) -> Floats:
    """Return the standard error of each contrast's mean, `error_NC`.

    With few seeds a contrast's own variance is hardly known, so it is shrunk towards the mean over contrasts (moderated
    as in Smyth 2004, with a fixed number of degrees of freedom for the shared variance). It is only ever enlarged:
    where one contrast is much noisier than the others, the mean would make its interval too narrow.

    Args:
        variances_NC: of a contrast's values between seeds.
        seeds_C: the number of seeds of each contrast, or of all.
        sizes_C: √(Σ w²) of each contrast.
        informative_C: the contrasts whose variance enters the shared one; None: all.
    """
    own = variances_NC / sizes_C**2
    shared = (own if informative_C is None else own[..., informative_C]).mean(axis=-1, keepdims=True)
    moderated = (SHARED_DEGREES * shared + (seeds_C - 1) * own) / (SHARED_DEGREES + seeds_C - 1)
    errors_NC: Floats = sizes_C * np.sqrt(np.maximum(own, moderated) / seeds_C)
    return errors_NC


@lru_cache
def critical_values(
    weights: tuple[tuple[float, ...], ...], looks: tuple[int, ...], error: float, is_rough: bool = False
) -> tuple[CriticalValue, ...]:
    """Return the critical values of each look.

    The error is spent in proportion to the seeds seen and used up at the last look (Lan and DeMets 1983). Intervals of
    estimate ± critical value × standard error then hold at all looks together (Jennison and Turnbull 1989), whatever
    the reason to stop.

    Equivalence has critical values of its own, as in two one-sided tests (Schuirmann 1987): a contrast at the border is
    called equivalent only if its estimate errs towards 0, which is one side. They spend the same error.

    Args:
        weights: contrast → weight of each arm.
        looks: increasing numbers of seeds, at least 2.
        error: the probability that any contrast is significant at any look while no arm differs.
        is_rough: use fewer draws, for planning.
    """
    weights_CA = np.array(weights)
    sizes_C = np.sqrt((weights_CA**2).sum(axis=1))
    numbers = weights_CA.shape[1] * looks[-1]
    draws = int(np.clip(MAX_NUMBERS // numbers, MIN_DRAWS, MAX_DRAWS)) // (ROUGH_DIVISOR if is_rough else 1)
    noises = list(_noises(weights_CA, looks[0]))
    simulations = [_simulate(weights_CA, sizes_C, looks, noise_A, draws) for noise_A in noises]
    _, widest_NL2 = simulations[0]
    two_sided = _spend([largest_NL3[..., :1] for largest_NL3, _ in simulations], looks, error)
    one_sided = _spend([largest_NL3[..., 1:] for largest_NL3, _ in simulations], looks, error)
    known, known_equivalence = _known_noise(weights_CA, noises, error, draws)
    values = []
    for look, (value, equivalence) in enumerate(zip(two_sided, one_sided, strict=True)):
        mean_N, error_N = widest_NL2[:, look].T
        detectable = _minimum_detectable_effect(value, mean_N, error_N)
        decidable = max(detectable, float(np.quantile(np.abs(mean_N) + equivalence * error_N, POWER)))
        values.append(CriticalValue(value, equivalence, detectable, decidable, known, known_equivalence))
    return tuple(values)


def _spend(simulations: Sequence[Floats], looks: Sequence[int], error: float) -> Iterator[float]:
    """Yield for each look the value that statistics `_NLK` exceed first at this look with the error that it spends.

    Of all simulations and statistics the least favourable one decides.
    """
    statistics = [simulation_NLK[..., k] for simulation_NLK in simulations for k in range(simulation_NLK.shape[-1])]
    # Draws in which the value has not been exceeded so far.
    open_draws = [np.ones(len(statistic_NL), bool) for statistic_NL in statistics]
    spent = 0.0
    for look, seeds in enumerate(looks):
        share = error * seeds / looks[-1] - spent
        spent += share
        value = max(
            _exceeded_by(statistic_NL[open_N, look], share * len(open_N))
            for statistic_NL, open_N in zip(statistics, open_draws, strict=True)
        )
        for statistic_NL, open_N in zip(statistics, open_draws, strict=True):
            open_N &= statistic_NL[:, look] <= value
        yield value


def of_degrees(known: float, degrees: float) -> float:
    """Return the critical value of noise with few degrees of freedom that errs as often as `known` with many."""
    return float(stats.t.isf(stats.norm.sf(known), degrees))


def _known_noise(weights_CA: Floats, noises: Sequence[Floats], error: float, draws: int) -> tuple[float, float]:
    """Return the largest |z|, and z, of all contrasts that `error` of the draws exceed; the least favourable noise."""
    random = np.random.default_rng(0)
    sparse_CA, signs_C = sparse.csr_array(weights_CA), _signs(len(weights_CA))
    largest = np.zeros(3)
    for noise_A in noises:
        scaled_CA = sparse_CA * noise_A
        deviation_C = np.sqrt(weights_CA**2 @ noise_A**2)
        largest_N3 = np.empty((draws, 3))
        for rows, count in _parts(draws, len(noise_A)):
            z_NC = np.asarray(scaled_CA @ random.normal(size=(len(noise_A), count))).T / deviation_C
            largest_N3[rows] = _largest(z_NC, signs_C)
        largest = np.maximum(largest, [_exceeded_by(largest_N, error * draws) for largest_N in largest_N3.T])
    return float(largest[0]), float(largest[1:].max())


def _parts(draws: int, numbers: int) -> Iterator[tuple[slice, int]]:
    """Yield batches of some 8 MB, where a draw takes so many numbers."""
    part = max(1, 1_000_000 // numbers)
    for first in range(0, draws, part):
        count = min(part, draws - first)
        yield slice(first, first + count), count


def _signs(count: int) -> Floats:
    """Return 1, −1, 1, …"""
    signs_C: Floats = np.where(np.arange(count) % 2, -1.0, 1.0)
    return signs_C


def _largest(ratio_NC: Floats, signs_C: Floats) -> Floats:
    """Return per draw the largest |t|, t and alternately signed t of all contrasts, `[N, 3]`."""
    signed_NC = ratio_NC * signs_C
    parts = [np.abs(ratio_NC).max(axis=1), ratio_NC.max(axis=1), signed_NC.max(axis=1)]
    largest_N3: Floats = np.stack(parts, axis=-1)
    return largest_N3


def _noises(weights_CA: Floats, fewest_seeds: int) -> Iterator[Floats]:
    """Yield each arm's standard deviation: all equal, then with the arm of most or of fewest contrasts noisier."""
    ratios = (NOISIER, MUCH_NOISIER) if fewest_seeds <= FEW_SEEDS else (NOISIER,)
    noise_A = np.ones(weights_CA.shape[1])
    yield noise_A
    uses_A = (weights_CA != 0).sum(axis=0)
    for arm, ratio in product({int(uses_A.argmax()), int(uses_A.argmin())}, ratios):
        noisier_A = noise_A.copy()
        noisier_A[arm] = ratio
        yield noisier_A


def _simulate(
    weights_CA: Floats, sizes_C: Floats, looks: Sequence[int], noise_A: Floats, draws: int
) -> tuple[Floats, Floats]:
    """Simulate lessons from noise alone.

    Returns:
        Per draw and look the largest |t|, t and alternately signed t of all contrasts (t is mean / standard error), and
        mean and error of the contrast with the largest size. Of all signs that true differences may have, equal ones
        are the worst for contrasts that correlate negatively, and alternating ones for those that share a baseline.
    """
    random = np.random.default_rng(0)
    arms, seeds = len(noise_A), looks[-1]
    widest, sparse_CA = int(sizes_C.argmax()), sparse.csr_array(weights_CA)
    signs_C = _signs(len(sizes_C))
    largest_NL3 = np.empty((draws, len(looks), 3))
    widest_NL2 = np.empty((draws, len(looks), 2))
    for rows, count in _parts(draws, arms * seeds):
        noise_NAS = random.normal(size=(count, arms, seeds)) * noise_A[:, None]
        # In a large grid each contrast has two arms of many, so the weights are sparse.
        noise_AM = noise_NAS.transpose(1, 0, 2).reshape(arms, -1)
        values_CM = np.asarray(sparse_CA @ noise_AM)
        values_NCS = values_CM.reshape(len(sizes_C), count, seeds).transpose(1, 0, 2)
        for index, look in enumerate(looks):
            seen_NCS = values_NCS[:, :, :look]
            mean_NC = seen_NCS.mean(axis=-1)
            error_NC = standard_errors(seen_NCS.var(axis=-1, ddof=1), look, sizes_C)
            largest_NL3[rows, index] = _largest(mean_NC / error_NC, signs_C)
            widest_NL2[rows, index] = np.stack([mean_NC[:, widest], error_NC[:, widest]], axis=-1)
    return largest_NL3, widest_NL2


def _exceeded_by(values_N: Floats, count: float) -> float:
    """Return the smallest value that at most `count` of them exceed."""
    ordered = np.sort(values_N)
    return float(ordered[max(0, len(ordered) - 1 - int(count))])


def _minimum_detectable_effect(critical: float, mean_N: Floats, error_N: Floats) -> float:
    def power(effect: float) -> float:
        return float((np.abs(mean_N + effect) > critical * error_N).mean())

    upper = 4 * critical * float(np.median(error_N)) + 4 * float(mean_N.std())
    return float(brentq(lambda effect: power(effect) - POWER, 0.0, upper, xtol=1e-4))
