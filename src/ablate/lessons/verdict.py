"""The words that a comparison may end in. One interval serves the table and the word."""

from enum import StrEnum

from ablate.lessons.estimate import Comparison


class Verdict(StrEnum):
    """What the primary metric says of an arm."""

    EQUIVALENT = "equivalent"
    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "undecided"
    BASELINE = "baseline"


def verdict(comparison: Comparison, smallest_effect: float, *, less_is_better: bool) -> Verdict:
    """The verdict on a metric.

    The interval inside ±smallest_effect: equivalent. Else, if it excludes 0: better or worse. Else, and always with
    one seed: undecided.
    """
    low, high = comparison.low, comparison.high
    if low is None or high is None:
        return Verdict.UNDECIDED
    if -smallest_effect < low and high < smallest_effect:
        return Verdict.EQUIVALENT
    if low <= 0 <= high:
        return Verdict.UNDECIDED
    return Verdict.BETTER if (high < 0) == less_is_better else Verdict.WORSE
