"""A metric as a grid's record keeps it: what it measures, in which unit, and which way is better."""

from dataclasses import dataclass
from enum import StrEnum


class Direction(StrEnum):
    """Which way a metric is better."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


@dataclass(frozen=True)
class Metric:
    """A metric that trials are scored by.

    Attributes:
        name: as it is logged, without a source; `name/source` is its value on one source.
        meaning: one sentence for readers, shown below tables.
        unit: of its values and of the smallest effect.
        direction: which way is better.
        smallest_effect: the least difference that matters where a lesson sets none; None where a lesson has to set it.
        needs_infill: whether only arms that were trained to infill have it.
        is_reference: whether it describes the data and not the trained model, so that lessons do not compare it.
        variant_of: the metric that it measures on a part of the data; None: it is measured on all.
    """

    name: str
    meaning: str
    unit: str
    direction: Direction
    smallest_effect: float | None
    needs_infill: bool = False
    is_reference: bool = False
    variant_of: str | None = None

    @property
    def less_is_better(self) -> bool:
        """Whether a smaller value is the better one."""
        return self.direction is Direction.MINIMIZE
