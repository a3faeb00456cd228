"""What a grid will be able to detect, and how many trials its interim looks will take, from noise that is known.

Shapes: `N` draws, `A` arms, `C` contrasts, `S` seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

import numpy as np

from ablate.lessons.critical_values import CriticalValue, Floats, critical_values, of_degrees, standard_errors
from ablate.lessons.noise import SeenNoise

# The number of draws is limited by the numbers that they take.
MAX_NUMBERS, MIN_DRAWS, MAX_DRAWS = 4_000_000, 200, 4_000

Weights = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Outlook:
    """What the looks of a grid will tell.

    Attributes:
        detectable_effect: the smallest true difference that the last look detects with 80% power, for the contrast of
            the largest size.
        expected_trials: mean number of trials, of all looks together, if no arm differs.
    """

    detectable_effect: float
    expected_trials: float


def outlook(
    weights: Weights, looks: Sequence[int], error: float, noise: SeenNoise, smallest_effects: Sequence[float]
) -> Outlook:
    """Return what a grid will be able to tell.

    Args:
        weights: contrast → weight of each arm; each arm has at least one weight that is not 0.
        looks: increasing numbers of seeds, at least 2.
        error: the probability that any contrast is significant at any look while no arm differs.
        noise: of trials on the metric of the contrasts.
        smallest_effects: of each contrast, the smallest difference that matters, in the metric's unit.
    """
    critical = critical_values(weights, tuple(looks), round(error, 9), is_rough=True)
    by_documents = critical[-1].detectable_by_known * noise.document_error
    return Outlook(
        hypot(critical[-1].minimum_detectable_effect * noise.deviation, by_documents),
        _expected_trials(np.array(weights), looks, critical, noise, np.array(smallest_effects)),
    )


def _expected_trials(
    weights_CA: Floats,
    looks: Sequence[int],
    critical: Sequence[CriticalValue],
    noise: SeenNoise,
    effects_C: Floats,
) -> float:
    """Simulate grids in which no arm differs, look by look as `Grid.next_look` does, and return their mean size."""
    contrasts, arms = weights_CA.shape
    random, most = np.random.default_rng(0), looks[-1]
    draws = int(np.clip(MAX_NUMBERS // (arms * most), MIN_DRAWS, MAX_DRAWS))
    sizes_C, uses_CA = np.sqrt((weights_CA**2).sum(axis=1)), weights_CA != 0
    values_NCS = np.einsum(
        "ca,nas->ncs", weights_CA, random.normal(scale=noise.deviation, size=(draws, arms, most)), optimize=True
    )
    # All seeds are scored on the same documents.
    documents_NC = random.normal(scale=noise.document_error, size=(draws, contrasts)) if noise.document_error else 0.0
    is_open_NC = np.ones((draws, contrasts), bool)
    seeds_NC = np.full((draws, contrasts), looks[0])
    variances_NC = np.zeros((draws, contrasts))
    seeds_NA = np.full((draws, arms), looks[0])
    for look, value in zip(looks, critical, strict=True):
        # An arm goes on while one of its comparisons is undecided.
        seeds_NA[(is_open_NC @ uses_CA) > 0] = look
        seen_NCS = values_NCS[:, :, :look]
        seeds_NC[is_open_NC] = look
        variances_NC[is_open_NC] = seen_NCS.var(axis=-1, ddof=1)[is_open_NC]
        error_NC = standard_errors(variances_NC, seeds_NC, sizes_C)
        distance_NC = np.abs(seen_NCS.mean(axis=-1) + documents_NC)
        known, known_equivalence = (
            of_degrees(each, noise.document_degrees) * noise.document_error
            for each in (value.known, value.known_equivalence)
        )
        is_equivalent_NC = distance_NC + np.hypot(value.equivalence * error_NC, known_equivalence) < effects_C
        is_significant_NC = distance_NC > np.hypot(value.value * error_NC, known)
        is_open_NC &= ~(is_equivalent_NC | is_significant_NC)
    return float(seeds_NA.sum(axis=1).mean())
