"""The declared fits of a ladder: slopes, loss over compute with predictions, and what repeated text is worth."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ablate.lessons.contrast import Contrast
from ablate.lessons.critical_values import Floats
from ablate.lessons.estimate import Comparison
from ablate.lessons.fits import REPETITIONS, EpochsLaw, Fitted, PowerLaw, Range, Sizes
from ablate.lessons.ladder import Drawn, Ladder, LadderRow
from ablate.lessons.verdict import Verdict, verdict
from ablate.records.grid import LadderRecord

# With three rungs three parameters fit exactly; intervals then cover as well as with more (docs/ladders.md).
MIN_RUNGS = {"compute": 3, "epochs": 5}
# Models of one size.
MAX_SIZE_RATIO = 1.01


@dataclass(frozen=True)
class ArmCurve:
    """A curve through one arm's means.

    Attributes:
        arm: whose.
        drawn: the means of the arm and, for another arm than the baseline, of the baseline.
        fitted: None where there is no curve.
        of_baseline: the baseline's curve through the same draws; None for the baseline itself, too.
        problem: why there is no curve.
    """

    arm: str
    drawn: Drawn | None
    fitted: Fitted | None = None
    of_baseline: Fitted | None = None
    problem: str = ""

    @property
    def widening(self) -> float:
        """By how much intervals of differences to the baseline are stretched."""
        return max(fitted.widening for fitted in (self.fitted, self.of_baseline) if fitted)


@dataclass(frozen=True)
class Predictions:
    """What a ladder's declared fits say.

    Attributes:
        ladder: the results.
        declared: fits and targets.
        smallest_effect: the smallest difference that matters, in the metric's unit.
        less_is_better: of the metric.
    """

    ladder: Ladder
    declared: LadderRecord
    smallest_effect: float
    less_is_better: bool

    def rows(self) -> Iterator[LadderRow]:
        """The effects at each rung, and then what each declared fit says of each arm."""
        fits = {"slope": self._slope_rows, "compute": self._compute_rows, "epochs": self._epochs_rows}
        yield from (row for row in self.ladder.rows() if row.fit == "effect")
        for fit in self.declared.fits:
            yield from fits[fit]()

    def _slope_rows(self) -> Iterator[LadderRow]:
        yield from (row for row in self.ladder.rows() if row.fit == "slope")

    @cached_property
    def curves(self) -> list[ArmCurve]:
        """Loss over compute, of each arm."""
        return [self._curve(arm, "compute") for arm in self.ladder.arms]

    @cached_property
    def epoch_curves(self) -> list[ArmCurve]:
        """Loss over unique and repeated tokens, of each arm."""
        return [self._curve(arm, "epochs") for arm in self.ladder.arms]

    def _compute_rows(self) -> Iterator[LadderRow]:
        for curve in self.curves:
            if curve.fitted is None:
                yield LadderRow("compute", curve.arm, "curve", None, note=curve.problem)
                continue
            for name, interval in curve.fitted.parameters(self.ladder.error).items():
                yield LadderRow("compute", curve.arm, name, interval)
            for target, flops in self.declared.targets.items():
                yield from self._prediction(curve, target, flops)

    def _prediction(self, curve: ArmCurve, target: str, flops: float) -> Iterator[LadderRow]:
        assert curve.fitted is not None
        value_K = curve.fitted.at(at_flops(flops))
        error = self.ladder.error
        yield LadderRow("compute", curve.arm, f"at {target}", Range.of(value_K, error, curve.fitted.widening))
        if curve.of_baseline is None:
            return
        difference = Range.of(value_K - curve.of_baseline.at(at_flops(flops)), error, curve.widening)
        here = self.verdict(curve.arm, difference)
        yield LadderRow(
            "compute", curve.arm, f"− {self.ladder.baseline} at {target}", difference, here, self._ranking(curve, here)
        )

    def _ranking(self, curve: ArmCurve, at_target: Verdict) -> str:
        """Whether the verdict on an arm at the largest rung is that at the target."""
        assert curve.drawn is not None
        effect_K = curve.drawn.value_KRA[:, -1, 0] - curve.drawn.value_KRA[:, -1, 1]
        at_largest = self.verdict(curve.arm, Range.of(effect_K, self.ladder.error))
        rung = curve.drawn.largest.label
        if Verdict.UNDECIDED in (at_largest, at_target):
            return f"{at_largest} at {rung}: whether the ranking holds is undecided"
        return f"{at_largest} at {rung}: the ranking {'holds' if at_largest == at_target else 'changes'}"

    def verdict(self, arm: str, effect: Range) -> Verdict:
        """The verdict on an effect, by its interval."""
        contrast = Contrast(arm, self.ladder.metric, {arm: 1.0, self.ladder.baseline: -1.0})
        margin = max(abs(effect.low), abs(effect.high))
        comparison = Comparison(contrast, effect.value, 0, effect.low, effect.high, margin)
        return verdict(comparison, self.smallest_effect, less_is_better=self.less_is_better)

    def _epochs_rows(self) -> Iterator[LadderRow]:
        for curve in self.epoch_curves:
            if curve.fitted is None:
                yield LadderRow("epochs", curve.arm, "curve", None, note=curve.problem)
                continue
            for name, interval in curve.fitted.parameters(self.ladder.error).items():
                note = _open(interval) if name == "R_star" else ""
                yield LadderRow("epochs", curve.arm, name, interval, note=note)
            if curve.of_baseline is not None:
                more_K = curve.fitted.drawn("R_star") - curve.of_baseline.drawn("R_star")
                difference = Range.of(more_K, self.ladder.error, curve.widening)
                yield LadderRow("epochs", curve.arm, f"− {self.ladder.baseline} in R_star", difference)

    def _curve(self, arm: str, fit: str) -> ArmCurve:
        pair = [arm] if arm == self.ladder.baseline else [arm, self.ladder.baseline]
        drawn = self.ladder.drawn(pair)
        if drawn is None or len(drawn.rungs) < MIN_RUNGS[fit]:
            rungs = 0 if drawn is None else len(drawn.rungs)
            return ArmCurve(arm, drawn, problem=f"too few rungs: {rungs}, it takes {MIN_RUNGS[fit]}")
        if fit == "epochs" and (problem := _repetition_problem(drawn)):
            return ArmCurve(arm, drawn, problem=problem)
        sizes, flops = drawn.sizes, drawn.largest.flops
        form = PowerLaw(flops) if fit == "compute" else EpochsLaw(float(sizes.tokens_R.max()))
        fitted = [drawn.fitted(form, drawn.value_KRA[:, :, index]) for index in range(len(pair))]
        for name, each in zip(pair, fitted, strict=True):
            if each.is_bad:
                return ArmCurve(arm, drawn, problem=f"bad fit: the rungs of {name} lie off every such curve")
        return ArmCurve(arm, drawn, fitted[0], fitted[1] if len(pair) > 1 else None)


def at_flops(flops: float | Floats) -> Sizes:
    """The sizes of some amounts of compute, for curves over compute."""
    amounts = np.atleast_1d(np.asarray(flops, dtype=float))
    return Sizes(amounts, amounts, amounts)


def _open(repetitions: Range) -> str:
    """A note where an interval of R* ends where the search does."""
    is_open = repetitions.low <= REPETITIONS[0] or repetitions.high >= REPETITIONS[-1]
    return f"open: {REPETITIONS[0]:g} to {REPETITIONS[-1]:g} are tried" if is_open else ""


def _repetition_problem(drawn: Drawn) -> str:
    """Why these rungs say nothing of repetition; empty where they do."""
    sizes = [rung.parameters for rung in drawn.rungs]
    if max(sizes) > MAX_SIZE_RATIO * min(sizes):
        return "the form is for one model size; these rungs have several"
    repeated_R = drawn.sizes.tokens_R / drawn.sizes.unique_R
    return "" if repeated_R.max() > 1.5 else "no rung reads its text twice"
