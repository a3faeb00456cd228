"""A grid's lesson: estimates, verdicts, and the rows of its table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import pandas as pd

from ablate.lessons.comparable import IncomparableError, check_comparable
from ablate.lessons.contrast import Contrast
from ablate.lessons.documents import Documents
from ablate.lessons.estimate import Comparison, Estimate, compare, seeds_to_decide
from ablate.lessons.grid_results import GridResults
from ablate.lessons.ladder import Ladder
from ablate.lessons.predictions import Predictions
from ablate.lessons.verdict import QualifiedVerdict, Verdict, verdict
from ablate.records.grid import ComparisonRecord, LookRecord


@dataclass(frozen=True)
class LessonRow:
    """One row of a lesson's table: an arm, a contrast, or both where an arm is compared with the baseline.

    Attributes:
        metric: its name.
        arm: the arm's label.
        contrast: the contrast's name.
        mean: the arm's mean over seeds.
        comparison: the contrast's estimate.
        verdict: on metrics with declared contrasts.
        estimate: of all contrasts on this metric.
    """

    metric: str
    arm: str | None
    contrast: str | None
    mean: float | None
    comparison: Comparison | None
    verdict: QualifiedVerdict | None
    estimate: Estimate


@dataclass(frozen=True)
class Lesson:
    """One grid's lesson.

    Attributes:
        results: of the grid's trials.
        declared: metric → estimate of the contrasts declared on it; they share the error.
        explored: metric → estimate, on metrics without a declared contrast, of the primary metric's contrasts.
        stale: trial id → changes of the code since the trial ran.
    """

    results: GridResults
    declared: Mapping[str, Estimate]
    explored: Mapping[str, Estimate]
    stale: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, results: GridResults, stale: Mapping[str, Sequence[str]] | None = None) -> "Lesson":
        """Draw the lesson from what the logs hold now.

        Args:
            results: of the grid's trials.
            stale: trial id → changes of the code since the trial ran.

        Raises:
            IncomparableError: see `check_comparable`.
        """
        check_comparable(results)
        declaration, contrasts, documents = results.declaration, results.contrasts, Documents(results)
        declared: dict[str, Estimate] = {}
        explored: dict[str, Estimate] = {}
        for name in results.metrics():
            values = results.values(name)
            if values.empty:
                continue
            own = [contrast for contrast in contrasts if contrast.metric == name]
            primary = [contrast for contrast in contrasts if contrast.metric == results.primary_metric]
            tested = own or [replace(contrast, metric=name) for contrast in primary]
            # Declared metrics divide the error in proportion to their contrasts.
            confidence = 1 - results.error(len(own)) if own else declaration.confidence
            estimate = compare(values, tested, confidence, declaration.looks, documents.contributions(tested))
            (declared if own else explored)[name] = estimate
        return cls(results, declared, explored, stale or {})

    @property
    def primary(self) -> Estimate | None:
        """The estimate on the primary metric; None while no seed is complete."""
        name = self.results.primary_metric
        return self.declared.get(name) or self.explored.get(name)

    @property
    def metrics(self) -> list[str]:
        """All metrics, those with declared contrasts first."""
        return list(dict.fromkeys([*self.declared, *self.explored]))

    def is_headline(self, metric: str) -> bool:
        """Whether a metric is declared, or measured on all data: not on a single source or a part of the text."""
        is_whole = "/" not in metric and self.results.metric(metric).variant_of is None
        return is_whole or metric in self.declared

    @property
    def comparisons(self) -> list[Comparison]:
        """The estimates of all declared contrasts whose arms have results."""
        return [comparison for estimate in self.declared.values() for comparison in estimate.comparisons]

    @property
    def is_decided(self) -> bool:
        """Whether no comparison is undecided."""
        return not self.undecided_arms

    @property
    def undecided_arms(self) -> set[str]:
        """The labels of the arms of undecided comparisons."""
        return {
            arm
            for comparison in self.comparisons
            if self.verdict(comparison) is Verdict.UNDECIDED
            for arm in comparison.contrast.weights
        }

    def verdict(self, comparison: Comparison) -> Verdict:
        """The verdict on a declared comparison, without qualifiers."""
        less_is_better = self.results.metric(comparison.contrast.metric).less_is_better
        effect = self.results.smallest_effect(comparison.contrast)
        return verdict(comparison, effect, less_is_better=less_is_better)

    @cached_property
    def verdicts(self) -> dict[str, QualifiedVerdict]:
        """Name of a declared contrast → verdict."""
        verdicts = {comparison.contrast.name: self.verdict(comparison) for comparison in self.comparisons}
        return {
            contrast.name: self._qualified(contrast, verdicts.get(contrast.name, Verdict.UNDECIDED))
            for contrast in self.results.contrasts
        }

    def _qualified(self, contrast: Contrast, verdict: Verdict) -> QualifiedVerdict:
        results, arms = self.results, list(contrast.weights)
        if diverged := [arm for arm in arms if arm in results.diverged]:
            arm = diverged[-1]
            return QualifiedVerdict(
                Verdict.DIVERGED, count=results.diverged[arm], arm="" if arm == contrast.name else arm
            )
        if absent := [arm for arm in arms if results.missing.get(arm, "").startswith("0/")]:
            return QualifiedVerdict(Verdict.MISSING, count=results.missing[absent[0]])
        qualifiers = {
            "no better than unigram": not results.no_better_than_unigram.isdisjoint(arms),
            "stale": any(trial in self.stale for arm in arms for trial in results.trials_of(arm)),
            "interim": bool(results.missing),
            "exploratory": not results.is_declared,
            f"try {results.try_number}": results.try_number > 1,
            "picked seeds": bool(results.seen.left_out),
            "post hoc": results.is_declared and results.is_post_hoc(contrast),
        }
        return QualifiedVerdict(verdict, tuple(name for name, holds in qualifiers.items() if holds))

    @cached_property
    def ladder(self) -> Predictions | None:
        """What the declared fits over sizes and budgets say, on the primary metric; None without a declared ladder.

        None too while no rung has scores of the baseline.
        """
        results, declared = self.results, self.results.declaration.ladder
        if declared is None:
            return None
        try:
            ladder = Ladder.of([results])
        except IncomparableError:
            return None
        less_is_better = results.metric(results.primary_metric).less_is_better
        return Predictions(ladder, declared, results.declaration.smallest_effect, less_is_better)

    @cached_property
    def required_seeds(self) -> int | None:
        """The seeds with which every comparison on the primary metric has a verdict at 80% power each.

        That is *equivalent* where no arm differs, and *better* or *worse* from the smallest effect on, with the error
        spent over the declared looks. None where the noise is unknown, or no number is enough on these documents.
        """
        results, primary = self.results, self.declared.get(self.results.primary_metric)
        if primary is None or primary.noise is None:
            return None
        contrasts = [comparison.contrast for comparison in primary.comparisons]
        effect = min(map(results.smallest_effect, contrasts))
        arms = list(dict.fromkeys(arm for contrast in contrasts for arm in contrast.weights))
        weights = [[contrast.weights.get(arm, 0.0) for arm in arms] for contrast in contrasts]
        confidence, looks = 1 - results.error(len(contrasts)), results.declaration.looks
        return seeds_to_decide(effect, primary.noise, weights, confidence, looks, primary.document_error)

    def look(self) -> LookRecord:
        """The record of this look."""
        return LookRecord(
            self.results.seeds,
            self.is_decided,
            tuple(
                ComparisonRecord(
                    comparison.contrast.name,
                    comparison.contrast.metric,
                    comparison.difference,
                    str(self.verdict(comparison)),
                    comparison.low,
                    comparison.high,
                    comparison.margin,
                    comparison.seeds,
                )
                for comparison in self.comparisons
            ),
        )

    def shown_arms(self, limit: int) -> list[str]:
        """Labels in the order of the command: all arms, or the baseline and the best others, `limit` in total."""
        labels = [arm.label for arm in self.results.arms]
        if len(labels) <= limit or self.primary is None:
            return labels[:limit]
        means = {label: mean for label, mean in self.primary.means.items() if label != self.results.baseline}
        less_is_better = self.results.metric(self.results.primary_metric).less_is_better
        best = sorted(means, key=lambda label: means[label], reverse=not less_is_better)[: limit - 1]
        return [label for label in labels if label in {*best, self.results.baseline}]

    def rows(self) -> Iterator[LessonRow]:
        """Per metric a row for each arm, then one for each contrast that is not an arm against the baseline."""
        labels = [arm.label for arm in self.results.arms]
        for metric in self.metrics:
            estimate = self.declared.get(metric) or self.explored[metric]
            comparisons = {comparison.contrast.name: comparison for comparison in estimate.comparisons}
            origin = metric if metric in self.declared else self.results.primary_metric
            contrasts = [contrast.name for contrast in self.results.contrasts if contrast.metric == origin]
            for name in dict.fromkeys([*labels, *contrasts]):
                yield LessonRow(
                    metric=metric,
                    arm=name if name in labels else None,
                    contrast=name if name in contrasts else None,
                    mean=estimate.means.get(name) if name in labels else None,
                    comparison=comparisons.get(name),
                    verdict=self._row_verdict(name, contrasts) if metric in self.declared else None,
                    estimate=estimate,
                )

    def table(self) -> pd.DataFrame:
        """Return the rows with their numbers, in the unit of each metric; `lesson.csv` holds the same."""
        return pd.DataFrame(
            {
                "metric": row.metric,
                "arm": row.arm,
                "contrast": row.contrast,
                "mean": row.mean,
                "difference": row.comparison and row.comparison.difference,
                "low": row.comparison and row.comparison.low,
                "high": row.comparison and row.comparison.high,
                "low_over_seeds": row.comparison and row.comparison.low_over_seeds,
                "high_over_seeds": row.comparison and row.comparison.high_over_seeds,
                "document_error": row.comparison and row.comparison.document_error,
                "verdict": row.verdict and str(row.verdict),
                "equivalence_margin": row.comparison and row.comparison.margin,
                "seeds": row.comparison.seeds if row.comparison else row.estimate.seeds,
                "residual_noise": row.estimate.noise,
                "minimum_detectable_effect": row.estimate.minimum_detectable_effect,
                "correlation_between_arms": row.estimate.correlation,
            }
            for row in self.rows()
        )

    def _row_verdict(self, name: str, contrasts: Sequence[str]) -> QualifiedVerdict | None:
        if name in contrasts:
            return self.verdicts[name]
        is_baseline = name in self.results.baselines and name not in self.verdicts
        return QualifiedVerdict(Verdict.BASELINE) if is_baseline else None
