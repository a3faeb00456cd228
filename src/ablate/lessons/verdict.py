"""The verdicts of comparisons, and what qualifies them."""

from dataclasses import dataclass
from enum import StrEnum

from ablate.lessons.estimate import Comparison


class Verdict(StrEnum):
    """The outcome of a declared contrast. The last three stand in place of an outcome."""

    EQUIVALENT = "equivalent"
    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "undecided"
    DIVERGED = "diverged"
    MISSING = "missing"
    BASELINE = "baseline"


@dataclass(frozen=True)
class QualifiedVerdict:
    """A verdict as lessons show it, e.g. `no better than unigram: interim: worse`, `diverged 1/5`, `missing, 0/5 done`.

    Attributes:
        verdict: without qualifiers.
        qualifiers: what weakens it.
        count: k/n trials that diverged or are done, where the verdict is `diverged` or `missing`.
        arm: the arm that diverged, where the contrast has another name.
    """

    verdict: Verdict
    qualifiers: tuple[str, ...] = ()
    count: str = ""
    arm: str = ""

    def __str__(self) -> str:
        if self.verdict is Verdict.MISSING:
            return f"{self.verdict}, {self.count} done"
        if self.verdict is Verdict.DIVERGED:
            return f"{self.verdict}: {self.arm} {self.count}" if self.arm else f"{self.verdict} {self.count}"
        return ": ".join((*self.qualifiers, self.verdict))

    @property
    def detail(self) -> str:
        """The trials that diverged or are done, where that stands in place of an outcome; else nothing."""
        if self.verdict is Verdict.MISSING:
            return f"{self.count} done"
        if self.verdict is Verdict.DIVERGED:
            return f"{self.arm} {self.count} diverged".lstrip()
        return ""


def verdict(comparison: Comparison, smallest_effect: float, *, less_is_better: bool) -> Verdict:
    """Return the verdict on a metric.

    Equivalent if the margin is less than the smallest effect; else better or worse if the interval excludes 0; else
    undecided, as always where the noise is unknown.
    """
    low, high, margin = comparison.low, comparison.high, comparison.margin
    if low is None or high is None or margin is None:
        return Verdict.UNDECIDED
    if margin < smallest_effect:
        return Verdict.EQUIVALENT
    if low <= 0 <= high:
        return Verdict.UNDECIDED
    return Verdict.BETTER if (high < 0) == less_is_better else Verdict.WORSE
