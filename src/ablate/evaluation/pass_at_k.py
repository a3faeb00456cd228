"""The unbiased estimator of pass@k (Chen et al. 2021, section 2.1)."""

import math

KS = (1, 10, 100)


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """Return the probability that at least one of k samples passes, drawn without replacement from those at hand.

    Raises ValueError for fewer than k samples.

    >>> pass_at_k(10, 3, 1), pass_at_k(5, 4, 2)
    (0.3, 1.0)
    """
    if not 0 < k <= samples:
        raise ValueError(f"pass@{k} of {samples} samples")
    draws = math.comb(samples, k)
    # Whole numbers: exact until the division.
    return (draws - math.comb(samples - passed, k)) / draws
