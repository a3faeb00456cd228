"""Simultaneous critical values over all contrasts and interim looks, in standard errors.

They are quantiles of the statistic that a lesson computes, simulated from noise alone, so they account for arms that
contrasts share, seeds that looks share, and the few seeds that the noise is estimated from.
Shapes: `N` draws, `L` looks, `C` contrasts, `A` arms, `S` seeds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import brentq

POWER = 0.8
# Degrees of freedom given to the variance that all contrasts share, beside a contrast's own S − 1.
SHARED_DEGREES = 3
# The critical values hold for equally noisy arms, and where the arm of most contrasts is this many times as noisy.
NOISIER = 2.0
# The number of draws is limited by the random numbers that they take. Planning takes fewer.
MAX_NUMBERS, MIN_DRAWS, MAX_DRAWS = 20_000_000, 5_000, 100_000
ROUGH_DIVISOR = 10

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class CriticalValue:
    """The critical value of one look.

    Attributes:
        value: the distance from 0 beyond which an estimate is significant, in standard errors.
        minimum_detectable_effect: the smallest true difference that the look detects with 80% power, for the contrast
            with the largest `size`, in standard deviations of one trial's noise.
    """

    value: float
    minimum_detectable_effect: float


def standard_errors(values_NCS: Floats, sizes_C: Floats, informative_C: Bools | None = None) -> tuple[Floats, Floats]:
    """Return the estimates and their standard errors, `mean_NC` and `error_NC`.

    Each contrast's variance between seeds is shrunk towards the mean over contrasts: with few seeds its own variance is
    hardly known, and a pooled one would be wrong where arms differ in noise. (Moderated as in Smyth 2004, with a fixed
    number of degrees of freedom for the shared variance.)

    Args:
        values_NCS: a contrast's value under each seed.
        sizes_C: √(Σ w²) of each contrast.
        informative_C: the contrasts whose variance enters the shared one; None: all.
    """
    seeds = values_NCS.shape[-1]
    own = values_NCS.var(axis=-1, ddof=1) / sizes_C**2
    shared = (own if informative_C is None else own[..., informative_C]).mean(axis=-1, keepdims=True)
    moderated = (SHARED_DEGREES * shared + (seeds - 1) * own) / (SHARED_DEGREES + seeds - 1)
    return values_NCS.mean(axis=-1), sizes_C * np.sqrt(moderated / seeds)


@lru_cache
def critical_values(
    weights: tuple[tuple[float, ...], ...], looks: tuple[int, ...], error: float, is_rough: bool = False
) -> tuple[CriticalValue, ...]:
    """Return the critical value of each look.

    The error is spent in proportion to the seeds seen and used up at the last look (Lan and DeMets 1983). Intervals of
    estimate ± critical value × standard error then hold at all looks together (Jennison and Turnbull 1989), whatever
    the reason to stop.

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
    simulations = [_simulate(weights_CA, sizes_C, looks, noise_A, draws) for noise_A in _noises(weights_CA)]
    # Draws in which nothing has been significant so far.
    open_draws = [np.ones(draws, bool) for _ in simulations]
    values, spent = [], 0.0
    for index, seeds in enumerate(looks):
        share = error * seeds / looks[-1] - spent
        spent += share
        # The less favourable noise decides.
        value = max(
            _exceeded_by(largest_NL[open_N, index], share * draws)
            for (largest_NL, _), open_N in zip(simulations, open_draws, strict=True)
        )
        open_draws = [
            open_N & (largest_NL[:, index] <= value)
            for (largest_NL, _), open_N in zip(simulations, open_draws, strict=True)
        ]
        _, widest_NL2 = simulations[0]
        values.append(CriticalValue(value, _minimum_detectable_effect(value, widest_NL2[:, index])))
    return tuple(values)


def _noises(weights_CA: Floats) -> Iterator[Floats]:
    """Yield each arm's standard deviation: all equal, then with the arm of most contrasts noisier."""
    noise_A = np.ones(weights_CA.shape[1])
    yield noise_A
    uses_A = (weights_CA != 0).sum(axis=0)
    if uses_A.max() > 1:
        noisier_A = noise_A.copy()
        noisier_A[uses_A.argmax()] = NOISIER
        yield noisier_A


def _simulate(
    weights_CA: Floats, sizes_C: Floats, looks: Sequence[int], noise_A: Floats, draws: int
) -> tuple[Floats, Floats]:
    """Return per draw and look the largest |mean| / error, and mean and error of the contrast with the largest size."""
    random = np.random.default_rng(0)
    arms, seeds = len(noise_A), looks[-1]
    widest, sparse_CA = int(sizes_C.argmax()), sparse.csr_array(weights_CA)
    largest_NL = np.empty((draws, len(looks)))
    widest_NL2 = np.empty((draws, len(looks), 2))
    # Batches of some 8 MB, however many arms there are.
    part = max(1, 1_000_000 // (arms * seeds))
    for first in range(0, draws, part):
        count = min(part, draws - first)
        noise_NAS = random.normal(size=(count, arms, seeds)) * noise_A[:, None]
        # In a large grid each contrast has two arms of many, so the weights are sparse.
        noise_AM = noise_NAS.transpose(1, 0, 2).reshape(arms, -1)
        values_CM = np.asarray(sparse_CA @ noise_AM)
        values_NCS = values_CM.reshape(len(sizes_C), count, seeds).transpose(1, 0, 2)
        for index, look in enumerate(looks):
            mean_NC, error_NC = standard_errors(values_NCS[:, :, :look], sizes_C)
            largest_NL[first : first + count, index] = (np.abs(mean_NC) / error_NC).max(axis=1)
            widest_NL2[first : first + count, index, 0] = mean_NC[:, widest]
            widest_NL2[first : first + count, index, 1] = error_NC[:, widest]
    return largest_NL, widest_NL2


def _exceeded_by(values_N: Floats, count: float) -> float:
    """Return the smallest value that at most `count` of them exceed."""
    ordered = np.sort(values_N)
    return float(ordered[max(0, len(ordered) - 1 - int(count))])


def _minimum_detectable_effect(critical: float, widest_N2: Floats) -> float:
    mean_N, error_N = widest_N2.T

    def power(effect: float) -> float:
        return float((np.abs(mean_N + effect) > critical * error_N).mean())

    upper = 4 * critical * float(np.median(error_N)) + 4 * float(mean_N.std())
    return float(brentq(lambda effect: power(effect) - POWER, 0.0, upper, xtol=1e-4))
