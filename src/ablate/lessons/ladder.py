"""A ladder: the same arms at several sizes and budgets, and how their scores and effects move with compute.

An effect is an arm minus the baseline of the same rung, or a declared sum of the arms of one rung, paired by seed. What
is fitted through the rungs is in `fits.py`. Intervals cover other seeds and, where the scores of documents were kept,
other held-out documents; those of one fit hold for all of its effects at once (Bonferroni).
Shapes: `R` rungs, `A` arms, `S` seeds, `D` documents, `K` draws.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from ablate.console import counted
from ablate.lessons.comparable import IncomparableError
from ablate.lessons.critical_values import Floats
from ablate.lessons.fits import Curve, Fitted, Line, Range, RungNoise, Sizes, degrees_of, draw_means
from ablate.lessons.grid_results import GridResults
from ablate.lessons.rungs import Rung, documents_of, rungs_of
from ablate.lessons.verdict import Verdict
from ablate.records.grid import RUNG_KEYS, arm_and_rung

MIN_SEEDS = 2


@dataclass(frozen=True)
class LadderRow:
    """One number of a ladder.

    Attributes:
        fit: `effect`, which is measured, or what was fitted.
        quantity: what the number is.
        range: None where there is none; `note` says why.
        verdict: on a predicted effect.
        note: what weakens it.
    """

    fit: str
    arm: str
    quantity: str
    range: Range | None
    verdict: Verdict | None = None
    note: str = ""


def table_of(rows: Iterable[LadderRow]) -> pd.DataFrame:
    """Return a table with a row per number; `ladder.csv` holds the same."""
    return pd.DataFrame(
        {
            "fit": row.fit,
            "arm": row.arm,
            "quantity": row.quantity,
            "value": row.range and row.range.value,
            "low": row.range and row.range.low,
            "high": row.range and row.range.high,
            "verdict": row.verdict and str(row.verdict),
            "note": row.note,
        }
        for row in rows
    )


@dataclass(frozen=True)
class Slope:
    """How an effect moves with compute.

    The straight line through the rungs is a summary, and no law: where the effect bends, `bends` says so, and the slope
    is still the mean one over these rungs.

    Attributes:
        name: of an arm, whose effect is its difference to the baseline, or of a declared contrast.
        effects: by rung, with the interval of each one alone.
        slope: change of the effect for ten times the compute; None with fewer than two rungs.
        at_largest: the line's value at the largest rung.
        bends: whether the rungs lie farther from the line than noise explains.
        problem: why there is no slope.
    """

    name: str
    effects: Mapping[str, Range]
    slope: Range | None = None
    at_largest: Range | None = None
    bends: bool = False
    problem: str | None = None

    @property
    def note(self) -> str:
        """What weakens the slope."""
        return self.problem or ("bends: the mean slope over these rungs" if self.bends else "")


@dataclass(frozen=True)
class Ladder:
    """The results of the same arms on several rungs, on one metric.

    Attributes:
        metric: its name.
        baseline: the arm that others are compared with.
        arms: all arms, in the order of their first appearance.
        rungs: by compute, the smallest first.
        confidence: the probability that all intervals of one fit hold.
        contrasts: the effects, name → weight of each arm; empty for each arm minus the baseline.
    """

    metric: str
    baseline: str
    arms: tuple[str, ...]
    rungs: tuple[Rung, ...]
    confidence: float = 0.95
    contrasts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        grids: Sequence[GridResults],
        metric: str | None = None,
        baseline: str | None = None,
        over: Sequence[str] | None = None,
    ) -> "Ladder":
        """Collect the rungs of one or several grids. Rungs are told apart by grid and by the values of some keys.

        Args:
            grids: with the same arms but for their size and budget.
            metric: its name; None for the first grid's primary metric.
            baseline: an arm's values without those of the rung; None for those of the first grid's baseline.
            over: the swept keys whose values make a rung, or their groups; None for those that the first grid declared,
                or without a declaration `scale` and `budget`.

        Raises:
            IncomparableError: no rung has the baseline.
        """
        declared = grids[0].declaration.ladder
        is_declared = baseline is None and over is None and metric in (None, grids[0].primary_metric)
        contrasts = declared.contrasts if declared and is_declared else {}
        metric = metric or grids[0].primary_metric
        over = over or grids[0].declaration.over or RUNG_KEYS
        if baseline is None:
            [record] = [arm for arm in grids[0].all_arms if arm.label == grids[0].grid.baseline.label]
            baseline = arm_and_rung(record.options, over)[0]
        rungs = [rung for results in grids for rung in rungs_of(results, metric, baseline, over)]
        if not rungs:
            labels = list(dict.fromkeys(arm_and_rung(arm.options, over)[0] for grid in grids for arm in grid.all_arms))
            raise IncomparableError(
                f"No rung has scores of the baseline {baseline} on {metric}. The arms are: {', '.join(labels)}."
            )
        arms = dict.fromkeys(str(arm) for rung in rungs for arm in rung.values_AS.index)
        rungs.sort(key=lambda rung: rung.flops)
        return cls(metric, baseline, tuple(arms), tuple(rungs), grids[0].declaration.confidence, contrasts)

    @property
    def others(self) -> list[str]:
        """The arms that are compared with the baseline."""
        return [arm for arm in self.arms if arm != self.baseline]

    @property
    def error(self) -> float:
        """The error of each interval of a curve."""
        return (1 - self.confidence) / max(1, len(self.others))

    def rungs_of(self, arms: Sequence[str]) -> list[Rung]:
        """The rungs where all of these arms have two seeds in common."""
        return [rung for rung in self.rungs if rung.paired(arms).shape[1] >= MIN_SEEDS]

    @property
    def effects(self) -> Mapping[str, Mapping[str, float]]:
        """Name → weight of each arm, of the declared contrasts or of each other arm minus the baseline."""
        return self.contrasts or {arm: {arm: 1.0, self.baseline: -1.0} for arm in self.others}

    @cached_property
    def slopes(self) -> list[Slope]:
        """The slope of each effect in log10 compute."""
        return [self._slope(name, weights) for name, weights in self.effects.items()]

    def _slope(self, name: str, weights: Mapping[str, float]) -> Slope:
        drawn = self.drawn(list(weights))
        if drawn is None:
            return Slope(name, {}, problem=f"no rung has {MIN_SEEDS} seeds of {counted(len(weights), 'arm')}")
        effect_KR = drawn.value_KRA @ np.array(list(weights.values()))
        error = (1 - self.confidence) / len(self.effects)
        ranges = [Range.of(effect_K, error) for effect_K in effect_KR.T]
        effects = {rung.label: effect for rung, effect in zip(drawn.rungs, ranges, strict=True)}
        if len({rung.flops for rung in drawn.rungs}) < 2:
            return Slope(name, effects, problem="a slope takes two rungs")
        fitted = drawn.fitted(Line(drawn.rungs[-1].flops), effect_KR)
        at_largest_K, slope_K = fitted.parameter_KP.T
        return Slope(name, effects, Range.of(slope_K, error), Range.of(at_largest_K, error), bends=fitted.is_bad)

    def rows(self) -> Iterator["LadderRow"]:
        """Each effect at each rung, and its slope."""
        for slope in self.slopes:
            for rung, effect in slope.effects.items():
                yield LadderRow("effect", slope.name, f"at {rung}", effect)
            yield LadderRow("slope", slope.name, "per 10× compute", slope.slope, note=slope.note)

    def table(self) -> pd.DataFrame:
        """Return `rows` as a table, in the metric's unit."""
        return table_of(self.rows())

    def drawn(self, arms: Sequence[str]) -> "Drawn | None":
        """Draw the means of some arms at the rungs that have them all; None where there is no such rung."""
        rungs = self.rungs_of(arms)
        if not rungs:
            return None
        values = [rung.paired(arms).to_numpy(float) for rung in rungs]
        documents = documents_of(rungs, arms)
        noises = tuple(
            RungNoise(value_AS - value_AS.mean(axis=1, keepdims=True), None if documents is None else documents[index])
            for index, value_AS in enumerate(values)
        )
        means = np.stack([value_AS.mean(axis=1) for value_AS in values])
        return Drawn(tuple(rungs), draw_means(means, noises), degrees_of(noises))


@dataclass(frozen=True)
class Drawn:
    """Draws of the means of some arms, `[K, R, A]`; the first one is what was measured.

    Attributes:
        rungs: that have these arms.
        degrees: of freedom of their noise.
    """

    rungs: tuple[Rung, ...]
    value_KRA: Floats
    degrees: float

    @property
    def largest(self) -> Rung:
        """The rung of most compute."""
        return self.rungs[-1]

    @property
    def sizes(self) -> Sizes:
        """Of all rungs."""
        of_rungs = [rung.sizes for rung in self.rungs]
        return Sizes(
            np.concatenate([sizes.flops_R for sizes in of_rungs]),
            np.concatenate([sizes.tokens_R for sizes in of_rungs]),
            np.concatenate([sizes.unique_R for sizes in of_rungs]),
        )

    def fitted(self, curve: Curve, value_KR: Floats) -> Fitted:
        """Fit a curve through the rungs."""
        return Fitted.of(curve, self.sizes, value_KR, self.degrees)
