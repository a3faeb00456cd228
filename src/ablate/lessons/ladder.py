"""A ladder: the same arms at several sizes and budgets, and how their scores and effects move with compute.

An effect is an arm minus the baseline of the same rung, paired by seed. What is fitted through the rungs is in
`fits.py`. Intervals cover other seeds and, where the scores of documents were kept, other held-out documents; those of
one fit hold for all of its arms at once (Bonferroni).
Shapes: `R` rungs, `A` arms, `S` seeds, `D` documents, `K` draws.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from ablate.lessons.contrast import Contrast
from ablate.lessons.critical_values import Floats
from ablate.lessons.documents import Documents
from ablate.lessons.fits import (
    Curve,
    Fitted,
    Line,
    Range,
    RungNoise,
    Sizes,
    degrees_of,
    draw_means,
)
from ablate.lessons.grid_results import GridResults, IncomparableError
from ablate.records.grid import ArmRecord, values_of

# Swept keys of these groups make rungs, unless a ladder says which do.
RUNG_GROUPS = ("scale", "budget")
MIN_SEEDS = 2


@dataclass(frozen=True)
class Rung:
    """One size and budget.

    Attributes:
        label: its swept values; the grid's id where nothing was swept but arms.
        sizes: what the baseline computed, as a mean over its trials.
        parameters: of the baseline's model.
        values_AS: a row per arm, a column per seed, NaN where there is no score.
        documents_AD: what documents contribute to an arm's mean over seeds: a row per arm, a column per source and
            document; empty where it is not known.
    """

    label: str
    sizes: Sizes
    parameters: float
    values_AS: pd.DataFrame
    documents_AD: pd.DataFrame

    @property
    def flops(self) -> float:
        """The training FLOPs of the baseline."""
        return float(self.sizes.flops_R[0])

    def paired(self, arms: Sequence[str]) -> pd.DataFrame:
        """The values under the seeds that all of these arms have."""
        return self.values_AS.reindex(list(arms)).dropna(axis="columns")


@dataclass(frozen=True)
class Slope:
    """How an arm's effect, arm minus baseline, moves with compute.

    The straight line through the rungs is a summary, and no law: where the effect bends, `bends` says so, and the slope
    is still the mean one over these rungs.

    Attributes:
        effects: by rung, with the interval of each one alone.
        slope: change of the effect for ten times the compute; None with fewer than two rungs.
        at_largest: the line's value at the largest rung.
        bends: whether the rungs lie farther from the line than noise explains.
        problem: why there is no slope.
    """

    arm: str
    effects: Mapping[str, Range]
    slope: Range | None = None
    at_largest: Range | None = None
    bends: bool = False
    problem: str | None = None


@dataclass(frozen=True)
class Ladder:
    """The results of the same arms on several rungs, on one metric.

    Attributes:
        metric: its name.
        baseline: the arm that others are compared with.
        arms: all arms, in the order of their first appearance.
        rungs: by compute, the smallest first.
        confidence: the probability that all intervals of one fit hold.
    """

    metric: str
    baseline: str
    arms: tuple[str, ...]
    rungs: tuple[Rung, ...]
    confidence: float = 0.95

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
            over: the swept keys whose values make a rung; None for those of the groups `scale` and `budget`.

        Raises:
            IncomparableError: no rung has the baseline.
        """
        metric = metric or grids[0].primary_metric
        if baseline is None:
            [record] = [arm for arm in grids[0].all_arms if arm.label == grids[0].grid.baseline.label]
            baseline = _arm_and_rung(record, over)[0]
        rungs = [rung for results in grids for rung in _rungs(results, metric, baseline, over)]
        if not rungs:
            found = list(dict.fromkeys(_arm_and_rung(arm, over)[0] for grid in grids for arm in grid.all_arms))
            raise IncomparableError(
                f"No rung has scores of the baseline {baseline} on {metric}. The arms are: {', '.join(found)}."
            )
        arms = dict.fromkeys(str(arm) for rung in rungs for arm in rung.values_AS.index)
        rungs.sort(key=lambda rung: rung.flops)
        return cls(metric, baseline, tuple(arms), tuple(rungs), grids[0].declaration.confidence)

    @property
    def others(self) -> list[str]:
        """The arms that are compared with the baseline."""
        return [arm for arm in self.arms if arm != self.baseline]

    @property
    def error(self) -> float:
        """The error of each arm's interval."""
        return (1 - self.confidence) / max(1, len(self.others))

    def rungs_of(self, arms: Sequence[str]) -> list[Rung]:
        """The rungs where all of these arms have two seeds in common."""
        return [rung for rung in self.rungs if rung.paired(arms).shape[1] >= MIN_SEEDS]

    @cached_property
    def slopes(self) -> list[Slope]:
        """The slope of each arm's effect in log10 compute."""
        return [self._slope(arm) for arm in self.others]

    def _slope(self, arm: str) -> Slope:
        drawn = self.drawn([arm, self.baseline])
        if drawn is None:
            return Slope(arm, {}, problem=f"no rung has {MIN_SEEDS} seeds of both arms")
        effect_KR = drawn.value_KRA[:, :, 0] - drawn.value_KRA[:, :, 1]
        ranges = [Range.of(effect_K, self.error) for effect_K in effect_KR.T]
        effects = {rung.label: effect for rung, effect in zip(drawn.rungs, ranges, strict=True)}
        if len({rung.flops for rung in drawn.rungs}) < 2:
            return Slope(arm, effects, problem="a slope takes two rungs")
        fitted = drawn.fitted(Line(drawn.rungs[-1].flops), effect_KR)
        at_largest_K, slope_K = fitted.parameter_KP.T
        return Slope(
            arm, effects, Range.of(slope_K, self.error), Range.of(at_largest_K, self.error), bends=fitted.is_bad
        )

    def table(self) -> pd.DataFrame:
        """Return a row per arm and quantity, in the metric's unit: the effect at each rung, then the line's numbers."""
        rows = [
            {"arm": slope.arm, "quantity": quantity, **vars(found), "note": note}
            for slope in self.slopes
            for quantity, found, note in [
                *((f"effect at {rung}", effect, "") for rung, effect in slope.effects.items()),
                ("slope", slope.slope, "bends" if slope.bends else slope.problem or ""),
                ("at_largest", slope.at_largest, ""),
            ]
            if found is not None or note
            for found in [found or Range(np.nan, np.nan, np.nan)]
        ]
        return pd.DataFrame(rows, columns=["arm", "quantity", "value", "low", "high", "note"])

    def drawn(self, arms: Sequence[str]) -> "Drawn | None":
        """Draw the means of some arms at the rungs that have them all; None where there is no such rung."""
        rungs = self.rungs_of(arms)
        if not rungs:
            return None
        values = [rung.paired(arms).to_numpy(float) for rung in rungs]
        documents = _documents(rungs, arms)
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


def _arm_and_rung(arm: ArmRecord, over: Sequence[str] | None) -> tuple[str, str]:
    """The values of an arm, and those of its rung."""
    of_rung = [key for key in arm.options if (key in over if over is not None else key.split(".")[0] in RUNG_GROUPS)]
    rung = {key: arm.options[key] for key in of_rung}
    return values_of({key: value for key, value in arm.options.items() if key not in rung}), " / ".join(rung.values())


def _rungs(results: GridResults, metric: str, baseline: str, over: Sequence[str] | None) -> Iterator[Rung]:
    """The rungs of one grid that have the baseline's scores."""
    labels: dict[str, dict[str, str]] = {}
    for arm in results.all_arms:
        name, rung = _arm_and_rung(arm, over)
        labels.setdefault(rung, {})[name] = arm.same_as or arm.label
    values, documents = results.values(metric), Documents(results)
    for rung, of_rung in labels.items():
        scored = {name: label for name, label in of_rung.items() if label in values.index}
        if baseline not in scored:
            continue
        table = values.loc[list(scored.values())].set_axis(list(scored)).dropna(axis="columns", how="all")
        means = {name: _of_documents(documents, metric, label) for name, label in scored.items()}
        known = pd.DataFrame(means).T if all(mean is not None for mean in means.values()) else pd.DataFrame()
        sizes, parameters = _sizes(results, scored[baseline])
        yield Rung(rung or results.grid_id, sizes, parameters, table, known)


def _sizes(results: GridResults, label: str) -> tuple[Sizes, float]:
    """What the trials of an arm computed, as means, and the parameters of its model."""
    found = [result for trial in results.trials_of(label) if (result := results.records[trial].result) is not None]
    counters = [result.counters for result in found]
    flops, tokens = (float(np.mean([getattr(each, name) for each in counters])) for name in ("flops", "train_tokens"))
    # A source that is read less than once is read for the first time throughout.
    first = [sum(read.fraction / max(1.0, read.epochs) for read in result.reading.values()) or 1.0 for result in found]
    sizes = Sizes(np.array([flops]), np.array([tokens]), np.array([tokens * float(np.mean(first))]))
    return sizes, float(np.mean([result.parameters for result in found]))


def _of_documents(documents: Documents, metric: str, label: str) -> pd.Series | None:
    """What documents contribute to an arm's mean over seeds, by source and document; None where it is not known."""
    contributions = documents.of_contrast(Contrast(label, metric, {label: 1.0}))
    if not contributions:
        return None
    names = documents.names(metric)
    return pd.concat(
        {source: pd.Series(of_source.mean(axis=0), names[source]) for source, of_source in contributions.items()}
    )


def _documents(rungs: Sequence[Rung], arms: Sequence[str]) -> list[Floats] | None:
    """The contributions of documents, `[A, D]` for each rung, over the documents of all rungs; 0 where one lacks one.

    None where a rung does not know them.
    """
    tables = [rung.documents_AD for rung in rungs]
    if any(table.empty for table in tables):
        return None
    columns = tables[0].columns
    for table in tables[1:]:
        columns = columns.union(table.columns)
    return [table.reindex(index=list(arms), columns=columns).fillna(0.0).to_numpy(float) for table in tables]
