"""What a lesson compares: weighted sums of arms, declared before anything runs.

A contrast's weights sum to 0: an arm minus the baseline, a factor's main effect, an interaction of two, or one that
the user names. Its value under a seed is the same sum of that seed's trials, so that what the seed does to all arms
drops out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of arms that is compared with 0.

    Attributes:
        name: for people; of a comparison with the baseline, the arm's label.
        metric: what it is measured by.
        weights: by the arm's label; they sum to 0.
    """

    name: str
    metric: str
    weights: Mapping[str, float]

    @property
    def size(self) -> float:
        """√(Σ w²): its standard deviation under one seed, in units of a trial's noise."""
        return float(sum(weight**2 for weight in self.weights.values()) ** 0.5)


Options = Mapping[str, Mapping[str, str]]


def against_baseline(labels: Sequence[str], baseline: str, metric: str) -> Iterator[Contrast]:
    """Each other arm minus the baseline."""
    for label in labels:
        if label != baseline:
            yield Contrast(label, metric, {label: 1.0, baseline: -1.0})


def main_effects(options: Options, metric: str) -> Iterator[Contrast]:
    """What each level of a factor does against its first, as the mean over all choices of the other factors.

    Args:
        options: of each arm, factor → level; a full factorial.
        metric: what it is measured by.

    Raises:
        ValueError: not every combination of levels is there.
    """
    for factor, levels in checked_levels(options).items():
        first, *others = levels
        share = len(levels) / len(options)
        for level in others:
            signs = {level: share, first: -share}
            weights = {arm: signs[chosen[factor]] for arm, chosen in options.items() if chosen[factor] in signs}
            yield Contrast(f"{factor}: {level} − {first}", metric, weights)


def interactions(options: Options, metric: str) -> Iterator[Contrast]:
    """For two factors, how much more a level of one does under a level of the other than under its first.

    Takes and raises what `main_effects` does.
    """
    levels = checked_levels(options)
    for (one, (first, *others)), (other, (second, *more)) in combinations(levels.items(), 2):
        share = len(levels[one]) * len(levels[other]) / len(options)
        for level in others:
            for beside in more:
                rows, columns = {level: 1, first: -1}, {beside: 1, second: -1}
                weights = {
                    arm: share * rows[chosen[one]] * columns[chosen[other]]
                    for arm, chosen in options.items()
                    if chosen[one] in rows and chosen[other] in columns
                }
                yield Contrast(f"{one}: {level} × {other}: {beside}", metric, weights)


def checked_levels(options: Options) -> dict[str, list[str]]:
    """The levels of each factor, in order. Raises ValueError where a combination of them is no arm."""
    factors = list(next(iter(options.values())))
    levels = {factor: list(dict.fromkeys(chosen[factor] for chosen in options.values())) for factor in factors}
    expected = prod(map(len, levels.values()))
    if len(options) != expected:
        shape = " × ".join(f"{len(of_factor)} of {factor}" for factor, of_factor in levels.items())
        raise ValueError(f"a full factorial ({shape}) has {expected} arms, this grid has {len(options)}")
    return levels
