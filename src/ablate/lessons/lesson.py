"""A grid's lesson: what is asked, what came out, and how sure that is. Plain values; `table` and `figure` show them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from ablate.lessons.contrast import Contrast
from ablate.lessons.estimate import Comparison, Estimate, compare, seeds_to_detect
from ablate.lessons.grid_results import GridResults
from ablate.lessons.metric import metric as metric_of
from ablate.lessons.verdict import Verdict, verdict
from ablate.records.grid import ComparisonRecord, LookRecord


@dataclass(frozen=True)
class Lesson:
    """One grid's lesson.

    Attributes:
        results: what the trials found.
        declared: by metric, the estimate of the contrasts that were declared on it; they share the error.
        explored: by metric, the means of all arms, and the same contrasts on metrics that they were not declared on.
        words: by contrast, the verdict and what qualifies it.
        needed_seeds: how many would detect `smallest_effect`; None where that can't be said.
        stale: by trial, what has changed since it ran.
    """

    results: GridResults
    declared: Mapping[str, Estimate]
    explored: Mapping[str, Estimate]
    words: Mapping[str, str]
    needed_seeds: int | None
    stale: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def primary(self) -> Estimate | None:
        """The estimate on the primary metric; None while no seed is complete."""
        name = self.results.declaration.primary_metric
        return self.declared.get(name) or self.explored.get(name)

    @property
    def metrics(self) -> list[str]:
        """All metrics, those of verdicts first."""
        return list(dict.fromkeys([*self.declared, *self.explored]))

    @property
    def comparisons(self) -> list[Comparison]:
        """The declared ones that could be made."""
        return [comparison for estimate in self.declared.values() for comparison in estimate.comparisons]

    @property
    def is_decided(self) -> bool:
        """Whether every declared contrast that could be made has a word."""
        return all(self.word(comparison) is not Verdict.UNDECIDED for comparison in self.comparisons)

    def word(self, comparison: Comparison) -> Verdict:
        """The bare verdict on a declared comparison."""
        less_is_better = metric_of(comparison.contrast.metric).less_is_better
        return verdict(comparison, self.results.declaration.smallest_effect, less_is_better=less_is_better)

    def look(self) -> LookRecord:
        """What this look saw, for the grid's record."""
        return LookRecord(
            self.results.seeds,
            self.is_decided,
            tuple(
                ComparisonRecord(
                    comparison.contrast.name,
                    comparison.contrast.metric,
                    comparison.difference,
                    str(self.word(comparison)),
                    comparison.low,
                    comparison.high,
                )
                for comparison in self.comparisons
            ),
        )

    def shown_arms(self, most: int) -> list[str]:
        """Labels of at most so many arms, in the order of the command: all, or the baseline and the best others."""
        labels = [arm.label for arm in self.results.arms]
        if len(labels) <= most or self.primary is None:
            return labels[:most]
        means = {label: mean for label, mean in self.primary.means.items() if label != self.results.baseline}
        less_is_better = metric_of(self.results.declaration.primary_metric).less_is_better
        best = sorted(means, key=lambda label: means[label], reverse=not less_is_better)[: most - 1]
        return [label for label in labels if label in {*best, self.results.baseline}]


def lesson(results: GridResults, stale: Mapping[str, Sequence[str]] | None = None) -> Lesson:
    """The lesson of a grid from what its logs hold now.

    Args:
        results: of the grid.
        stale: by trial, what has changed since it ran.

    Raises:
        IncomparableError: like `check_comparable`.
    """
    results.check_comparable()
    declaration, contrasts = results.declaration, results.contrasts
    declared, explored = {}, {}
    for name in results.metrics():
        values = results.values(name)
        if values.empty:
            continue
        own = [contrast for contrast in contrasts if contrast.metric == name]
        if own:
            # Each metric's family gets its part of the error.
            confidence = 1 - (1 - declaration.confidence) * len(own) / len(contrasts)
            declared[name] = compare(values, own, confidence, declaration.looks)
        else:
            moved = [Contrast(one.name, name, one.weights) for one in contrasts if one.metric == results.primary_metric]
            explored[name] = compare(values, moved, declaration.confidence, declaration.looks)
    found = Lesson(results, declared, explored, {}, _needed_seeds(results, declared), stale or {})
    return Lesson(results, declared, explored, _words(found), found.needed_seeds, found.stale)


def _needed_seeds(results: GridResults, declared: Mapping[str, Estimate]) -> int | None:
    primary = declared.get(results.primary_metric)
    if primary is None or primary.noise is None:
        return None
    contrasts = [comparison.contrast for comparison in primary.comparisons]
    arms = list(dict.fromkeys(arm for contrast in contrasts for arm in contrast.weights))
    weights = [[contrast.weights.get(arm, 0.0) for arm in arms] for contrast in contrasts]
    share = (1 - results.declaration.confidence) * len(contrasts) / len(results.contrasts)
    return seeds_to_detect(results.declaration.smallest_effect, primary.noise, weights, 1 - share)


def _words(found: Lesson) -> dict[str, str]:
    results = found.results
    bare = {comparison.contrast.name: str(found.word(comparison)) for comparison in found.comparisons}
    missing, unstable = results.missing(), results.unstable()
    words = {}
    for contrast in results.contrasts:
        arms = contrast.weights
        word = bare.get(contrast.name, str(Verdict.UNDECIDED))
        if not results.is_declared:
            word = f"exploratory: {word}"
        elif results.is_post_hoc(contrast):
            word = f"post hoc: {word}"
        if missing:
            word = f"interim: {word}"
        if any(trial in found.stale for arm in arms for trial in results.trials_of(arm)):
            word = f"stale: {word}"
        gone = [missing[arm] for arm in arms if missing.get(arm, "").startswith("0/")]
        if gone:
            word = f"missing, {gone[0]} done"
        for arm in arms:
            if arm in unstable:
                word = f"unstable {unstable[arm]}" if arm == contrast.name else f"unstable: {arm} {unstable[arm]}"
        words[contrast.name] = word
    return words


def tidy(found: Lesson) -> pd.DataFrame:
    """A row per metric and arm, and one per metric and contrast that is no arm against the baseline.

    Columns: metric, arm, contrast, mean, difference, low, high, verdict, and what the interval rests on.
    """
    rows = []
    for name in found.metrics:
        estimate = found.declared.get(name) or found.explored[name]
        is_declared = name in found.declared
        shared = {
            "seeds": estimate.seeds,
            "residual_noise": estimate.noise,
            "detectable_effect": estimate.minimum_detectable_effect,
            "correlation_between_arms": estimate.correlation,
        }
        by_name = {comparison.contrast.name: comparison for comparison in estimate.comparisons}
        labels = [arm.label for arm in found.results.arms]
        named = [
            contrast.name for contrast in found.results.contrasts if contrast.metric in (name, _origin(found, name))
        ]
        for label in labels:
            is_contrast = label in named
            rows.append(
                {
                    "metric": name,
                    "arm": label,
                    "contrast": label if is_contrast else None,
                    "mean": estimate.means.get(label),
                    **_numbers(by_name.get(label)),
                    "verdict": _verdict_of(found, label, is_declared=is_declared, is_contrast=is_contrast),
                    **shared,
                }
            )
        rows += [
            {
                "metric": name,
                "arm": None,
                "contrast": contrast,
                "mean": None,
                **_numbers(by_name.get(contrast)),
                "verdict": found.words[contrast] if is_declared else None,
                **shared,
            }
            for contrast in named
            if contrast not in labels
        ]
    return pd.DataFrame(rows)


def _origin(found: Lesson, name: str) -> str | None:
    """The metric whose contrasts are explored on this one."""
    return None if name in found.declared else found.results.primary_metric


def _numbers(comparison: Comparison | None) -> dict[str, float | None]:
    if comparison is None:
        return dict.fromkeys(("difference", "low", "high"))
    return {"difference": comparison.difference, "low": comparison.low, "high": comparison.high}


def _verdict_of(found: Lesson, label: str, *, is_declared: bool, is_contrast: bool) -> str | None:
    if not is_declared:
        return None
    if is_contrast:
        return found.words[label]
    is_compared = any(contrast.name == label for contrast in found.results.contrasts)
    return str(Verdict.BASELINE) if label == found.results.baseline and not is_compared else None
