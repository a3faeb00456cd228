"""A/A: the whole machinery on arms that are the same, so that every difference it claims is a false one."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ablate.lessons.contrast import against_baseline
from ablate.lessons.estimate import compare
from ablate.lessons.grid_results import GridResults


@dataclass(frozen=True)
class AATest:
    """One A/A comparison: two initialisations of one configuration over the same orders of the data.

    Attributes:
        data_seeds: the seeds of the comparison.
        difference: with its interval, in the metric's unit.
        is_false: whether the interval excludes 0.
    """

    data_seeds: tuple[str, ...]
    difference: float
    low: float
    high: float

    @property
    def is_false(self) -> bool:
        """Whether a difference is claimed that is not there."""
        return self.low > 0 or self.high < 0


def aa_test(one: GridResults, other: GridResults, metric: str, seeds: int) -> list[AATest]:
    """Compares two grids of one arm each, which differ in `init_seed`, in groups of so many shared data seeds.

    Args:
        one: a grid of `init_seed=0 data_seed=0,1,2,…`.
        other: the same with another `init_seed`.
        metric: what is compared.
        seeds: of each comparison; what is left over is not used.
    """
    rows = {"one": _by_data_seed(one, metric), "other": _by_data_seed(other, metric)}
    values = pd.DataFrame.from_dict(rows, orient="index").dropna(axis="columns")
    contrasts = list(against_baseline(["one", "other"], "one", metric))
    found = []
    for first in range(0, values.shape[1] - seeds + 1, seeds):
        part = values.iloc[:, first : first + seeds]
        [comparison] = compare(part, contrasts, one.declaration["confidence"], [seeds]).comparisons
        if comparison.low is not None and comparison.high is not None:
            found.append(AATest(tuple(part.columns), comparison.difference, comparison.low, comparison.high))
    return found


def _by_data_seed(results: GridResults, metric: str) -> dict[str, float]:
    [row] = results.values(metric).to_dict(orient="records")
    return {str(seed).split("/")[-1]: float(value) for seed, value in row.items()}


def aa_table(found: Sequence[AATest]) -> pd.DataFrame:
    """A row per comparison, for people."""
    return pd.DataFrame(
        [
            {
                "data seeds": ", ".join(one.data_seeds),
                "difference": f"{one.difference:+.4f}",
                "interval": f"[{one.low:+.4f}, {one.high:+.4f}]",
                "claimed": "a difference" if one.is_false else "",
            }
            for one in found
        ]
    )
