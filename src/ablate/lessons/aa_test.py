"""A/A tests: compare a configuration with itself, to count how often a difference is claimed that is not there."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from ablate.lessons.contrast import against_baseline
from ablate.lessons.estimate import compare
from ablate.lessons.grid_results import GridResults


@dataclass(frozen=True)
class AAComparison:
    """Two initialisations of one configuration over the same data seeds; the interval is in the metric's unit."""

    data_seeds: tuple[str, ...]
    difference: float
    low: float
    high: float

    @property
    def is_false_positive(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def aa_test(a: GridResults, b: GridResults, metric: str, seeds: int) -> Iterator[AAComparison]:
    """Compare two grids of one arm that differ in `init_seed` alone, in groups of shared data seeds.

    Args:
        a: a grid like `init_seed=0 data_seed=0,1,2,…`.
        b: the same grid with another `init_seed`.
        metric: the metric to compare.
        seeds: the size of a group; seeds that fill no group are left out.
    """
    rows = {"a": _by_data_seed(a, metric), "b": _by_data_seed(b, metric)}
    values = pd.DataFrame.from_dict(rows, orient="index").dropna(axis="columns")
    contrasts = list(against_baseline(["a", "b"], "a", metric))
    for first in range(0, values.shape[1] - seeds + 1, seeds):
        group = values.iloc[:, first : first + seeds]
        [comparison] = compare(group, contrasts, a.declaration.confidence, [seeds]).comparisons
        if comparison.low is not None and comparison.high is not None:
            yield AAComparison(tuple(group.columns), comparison.difference, comparison.low, comparison.high)


def _by_data_seed(results: GridResults, metric: str) -> dict[str, float]:
    [row] = results.values(metric).to_dict(orient="records")
    return {str(seed).split("/")[-1]: float(value) for seed, value in row.items()}
