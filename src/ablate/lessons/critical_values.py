"""How far an estimate must lie from 0, in standard errors, before it counts: for all comparisons and looks at once.

The critical values are quantiles of the very statistic that a lesson computes, drawn from noise alone: seed by seed,
arm by arm, contrast by contrast, look by look. So they know how contrasts share arms, how looks share seeds, and from
how few seeds the noise is estimated. Shapes: `N` draws, `C` contrasts, `A` arms, `S` seeds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import brentq

POWER = 0.8
# The noise that all contrasts show counts as so many degrees beside a contrast's own S − 1 (see `standard_errors`).
SHARED_DEGREES = 3
# The critical values hold for arms that are equally noisy, and where the most used arm is so much noisier.
NOISIER = 2.0
# As many draws as so many random numbers make, but not fewer and not more than these; for a boundary that only plans, a
# part of them.
MOST_NUMBERS, LEAST_DRAWS, MOST_DRAWS = 20_000_000, 5_000, 100_000
ROUGH_PART = 10

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class CriticalValue:
    """What one look asks of an estimate.

    Attributes:
        critical: standard errors from 0.
        detectable: the smallest true difference that it finds with 80% power, in standard deviations of one trial's
            noise, of the widest contrast.
    """

    critical: float
    detectable: float


def standard_errors(values_NCS: Floats, sizes_C: Floats, telling_C: Bools | None = None) -> tuple[Floats, Floats]:
    """Estimates and their standard errors.

    Each contrast's variance between seeds is drawn towards the mean of all of them: with few seeds its own is hardly
    known, and a common one alone would be wrong where arms differ in noise. (Moderated as in Smyth 2004, with a fixed
    number of degrees for what is shared.)

    Args:
        values_NCS: a contrast's value under each seed.
        sizes_C: √(Σ w²) of each contrast.
        telling_C: the contrasts that say something of the noise; None: all.

    Returns:
        mean_NC and error_NC.
    """
    seeds = values_NCS.shape[-1]
    own = values_NCS.var(axis=-1, ddof=1) / sizes_C**2
    shared = (own if telling_C is None else own[..., telling_C]).mean(axis=-1, keepdims=True)
    moderated = (SHARED_DEGREES * shared + (seeds - 1) * own) / (SHARED_DEGREES + seeds - 1)
    return values_NCS.mean(axis=-1), sizes_C * np.sqrt(moderated / seeds)


@lru_cache
def critical_values(
    weights: tuple[tuple[float, ...], ...], looks: tuple[int, ...], error: float, is_rough: bool = False
) -> tuple[CriticalValue, ...]:
    """The boundary of each look.

    The error is spent in proportion to the seeds seen, so that it is all spent at the last look (Lan and DeMets 1983);
    an interval around each estimate, as wide as the boundary, then holds at all looks together (Jennison and
    Turnbull 1989), whatever made somebody stop.

    Args:
        weights: of each contrast, by arm.
        looks: rising numbers of seeds, at least 2.
        error: the chance that any contrast is beyond its boundary at any look, where no arm differs.
        is_rough: from few draws, to plan by.
    """
    weights_CA = np.array(weights)
    sizes_C = np.sqrt((weights_CA**2).sum(axis=1))
    draws = _draws(weights_CA.shape[1] * looks[-1]) // (ROUGH_PART if is_rough else 1)
    worlds = [_draw(weights_CA, sizes_C, looks, noise_A, draws) for noise_A in _noises(weights_CA)]
    inside = [np.ones(len(furthest_NL), bool) for furthest_NL, _ in worlds]
    found, spent = [], 0.0
    for index, seeds in enumerate(looks):
        share = error * seeds / looks[-1] - spent
        spent += share
        # The noise that asks for most decides.
        critical = max(
            _exceeded_by(furthest_NL[kept, index], share * len(kept))
            for (furthest_NL, _), kept in zip(worlds, inside, strict=True)
        )
        inside = [
            kept & (furthest_NL[:, index] <= critical) for (furthest_NL, _), kept in zip(worlds, inside, strict=True)
        ]
        _, widest_NL2 = worlds[0]
        found.append(CriticalValue(critical, _detectable(critical, widest_NL2[:, index])))
    return tuple(found)


def _noises(weights_CA: Floats) -> Iterator[Floats]:
    """A trial's standard deviation in each arm: all alike, and the arm that most contrasts share noisier."""
    noise_A = np.ones(weights_CA.shape[1])
    yield noise_A
    uses_A = (weights_CA != 0).sum(axis=0)
    if uses_A.max() > 1:
        noisier_A = noise_A.copy()
        noisier_A[uses_A.argmax()] = NOISIER
        yield noisier_A


def _draws(numbers: int) -> int:
    """How many draws of so many numbers each are worth their time."""
    return int(np.clip(MOST_NUMBERS // numbers, LEAST_DRAWS, MOST_DRAWS))


def _draw(
    weights_CA: Floats, sizes_C: Floats, looks: Sequence[int], noise_A: Floats, draws: int
) -> tuple[Floats, Floats]:
    """Per draw and look, the furthest contrast in standard errors, and mean and error of the widest contrast."""
    random = np.random.default_rng(0)
    arms, seeds = len(noise_A), looks[-1]
    widest, sparse_CA = int(sizes_C.argmax()), sparse.csr_array(weights_CA)
    furthest_NL = np.empty((draws, len(looks)))
    widest_NL2 = np.empty((draws, len(looks), 2))
    # In parts of some 8 MB, however many arms there are.
    part = max(1, 1_000_000 // (arms * seeds))
    for first in range(0, draws, part):
        count = min(part, draws - first)
        noise_NAS = random.normal(size=(count, arms, seeds)) * noise_A[:, None]
        # Of a large grid each contrast knows two arms of many.
        noise_AM = noise_NAS.transpose(1, 0, 2).reshape(arms, -1)
        values_CM = np.asarray(sparse_CA @ noise_AM)
        values_NCS = values_CM.reshape(len(sizes_C), count, seeds).transpose(1, 0, 2)
        for index, look in enumerate(looks):
            mean_NC, error_NC = standard_errors(values_NCS[:, :, :look], sizes_C)
            furthest_NL[first : first + count, index] = (np.abs(mean_NC) / error_NC).max(axis=1)
            widest_NL2[first : first + count, index, 0] = mean_NC[:, widest]
            widest_NL2[first : first + count, index, 1] = error_NC[:, widest]
    return furthest_NL, widest_NL2


def _exceeded_by(values_N: Floats, count: float) -> float:
    """The least value that at most `count` of them exceed."""
    ordered = np.sort(values_N)
    return float(ordered[max(0, len(ordered) - 1 - int(count))])


def _detectable(critical: float, widest_N2: Floats) -> float:
    mean_N, error_N = widest_N2.T

    def power(shift: float) -> float:
        return float((np.abs(mean_N + shift) > critical * error_N).mean())

    most = 4 * critical * float(np.median(error_N)) + 4 * float(mean_N.std())
    return float(brentq(lambda shift: power(shift) - POWER, 0.0, most, xtol=1e-4))
