"""Contrasts: the weighted sums of arms that a lesson tests, declared before anything runs.

The weights sum to 0. A contrast is an arm minus the baseline, a main effect, an interaction of two factors, or one
that the user names. Its value under a seed is the same sum over that seed's trials, which cancels what the seed does
to all arms alike.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import prod

# Smaller weights are rounding errors of weights that cancel.
MIN_WEIGHT = 1e-12


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of arms that is compared with 0.

    Attributes:
        name: shown to users; the arm's label where an arm is compared with the baseline.
        metric: the metric whose values are summed.
        weights: arm label → weight; they sum to 0.
    """

    name: str
    metric: str
    weights: Mapping[str, float]

    @property
    def size(self) -> float:
        """√(Σ w²): the standard deviation of its value under one seed, in units of one trial's noise."""
        return float(sum(weight**2 for weight in self.weights.values()) ** 0.5)


def merged(weights: Mapping[str, float], names: Mapping[str, str]) -> dict[str, float]:
    """Return name → the sum of the weights of its labels, without names whose weights cancel.

    Args:
        weights: label → weight.
        names: label → name; labels that are to count as one have one name.
    """
    sums: dict[str, float] = {}
    for label, weight in weights.items():
        sums[names[label]] = sums.get(names[label], 0.0) + weight
    return {name: weight for name, weight in sums.items() if abs(weight) > MIN_WEIGHT}


Options = Mapping[str, Mapping[str, str]]


def against_baseline(labels: Sequence[str], baseline: str, metric: str) -> Iterator[Contrast]:
    """Yield each other arm minus the baseline."""
    for label in labels:
        if label != baseline:
            yield Contrast(label, metric, {label: 1.0, baseline: -1.0})


def main_effects(options: Options, metric: str) -> Iterator[Contrast]:
    """Yield each level of a factor minus the factor's first level, averaged over the other factors.

    Args:
        options: arm label → factor → level; a full factorial.
        metric: the metric of the contrasts.

    Raises:
        ValueError: a combination of levels is missing.
    """
    for factor, levels in checked_levels(options).items():
        first, *others = levels
        weight = len(levels) / len(options)
        for level in others:
            signs = {level: weight, first: -weight}
            weights = {arm: signs[chosen[factor]] for arm, chosen in options.items() if chosen[factor] in signs}
            yield Contrast(f"{factor}: {level} − {first}", metric, weights)


def interactions(options: Options, metric: str) -> Iterator[Contrast]:
    """Yield how much larger the effect of one factor's level is under a level of another factor than under its first.

    Arguments and errors are those of `main_effects`.
    """
    levels = checked_levels(options)
    for (a, (first_a, *others_a)), (b, (first_b, *others_b)) in combinations(levels.items(), 2):
        weight = len(levels[a]) * len(levels[b]) / len(options)
        for level_a, level_b in product(others_a, others_b):
            signs_a, signs_b = {level_a: 1, first_a: -1}, {level_b: 1, first_b: -1}
            weights = {
                arm: weight * signs_a[chosen[a]] * signs_b[chosen[b]]
                for arm, chosen in options.items()
                if chosen[a] in signs_a and chosen[b] in signs_b
            }
            yield Contrast(f"{a}: {level_a} × {b}: {level_b}", metric, weights)


def checked_levels(options: Options) -> dict[str, list[str]]:
    """Return factor → levels, in order of appearance. Raises ValueError where a combination of levels is not an arm."""
    factors = list(next(iter(options.values())))
    levels = {factor: list(dict.fromkeys(chosen[factor] for chosen in options.values())) for factor in factors}
    expected = prod(map(len, levels.values()))
    if len(options) != expected:
        shape = " × ".join(f"{len(names)} of {factor}" for factor, names in levels.items())
        raise ValueError(f"a full factorial ({shape}) has {expected} arms, this grid has {len(options)}")
    return levels
