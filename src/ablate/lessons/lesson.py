"""A grid's lesson: what is asked, what came out, and how sure that is. Plain values; `table` and `figure` show them."""

from dataclasses import asdict, dataclass

import pandas as pd

from ablate.lessons.estimate import Estimate, compare, seeds_to_detect
from ablate.lessons.grid_results import GridResults
from ablate.lessons.metric import metric as metric_of
from ablate.lessons.verdict import Verdict, verdict


@dataclass(frozen=True)
class Lesson:
    """One grid's lesson.

    Attributes:
        estimates: one per metric, the primary one first.
        uncompared: of metrics that the baseline does not have, the mean of each arm that does.
        verdicts: of each arm on the primary metric, the baseline included.
        interim: whether trials that were declared are still missing; then no word is final.
        needed_seeds: how many would detect `smallest_effect`; None where that can't be said.
    """

    results: GridResults
    estimates: dict[str, Estimate]
    uncompared: dict[str, dict[str, float]]
    verdicts: dict[str, str]
    interim: bool
    needed_seeds: int | None

    @property
    def primary(self) -> Estimate | None:
        """The estimate that the verdicts are of; None while no seed is complete."""
        return self.estimates.get(self.results.declaration["primary_metric"])

    def shown_arms(self, most: int) -> list[str]:
        """Labels of at most so many arms, in the order of the command: all, or the baseline and the best others."""
        labels = [arm.label for arm in self.results.arms]
        if len(labels) <= most or self.primary is None:
            return labels[:most]
        means = {difference.arm: difference.mean for difference in self.primary.differences}
        less_is_better = metric_of(self.results.declaration["primary_metric"]).less_is_better
        best = sorted(means, key=lambda label: means[label], reverse=not less_is_better)[: most - 1]
        return [label for label in labels if label in {*best, self.results.baseline}]


def lesson(results: GridResults) -> Lesson:
    """The lesson of a grid from what its ledger holds now. Raises IncomparableError like `check_comparable`."""
    results.check_comparable()
    declaration = results.declaration
    unstable = results.unstable()
    estimates, uncompared = {}, {}
    for metric in results.metrics():
        values = results.values(metric)
        if values.size and results.baseline in values.index:
            estimates[metric] = compare(values, results.baseline, declaration["confidence"])
        elif values.size and results.baseline not in unstable:
            uncompared[metric] = {str(arm): float(mean) for arm, mean in values.mean(axis=1).items()}
    missing = results.missing()
    primary = estimates.get(declaration["primary_metric"])
    verdicts = {arm.label: str(Verdict.UNDECIDED) for arm in results.arms}
    verdicts[results.baseline] = str(Verdict.BASELINE)
    needed = None
    if primary:
        for difference in primary.differences:
            less_is_better = metric_of(declaration["primary_metric"]).less_is_better
            word = verdict(difference, declaration["smallest_effect"], less_is_better=less_is_better)
            verdicts[difference.arm] = str(word)
        if primary.noise and primary.pooled:
            needed = seeds_to_detect(
                declaration["smallest_effect"], primary.noise, len(primary.differences), declaration["confidence"]
            )
    verdicts |= {arm: f"post hoc: {verdicts[arm]}" for arm in results.post_hoc()}
    if missing:
        verdicts = {arm: word if word == Verdict.BASELINE else f"interim: {word}" for arm, word in verdicts.items()}
        verdicts |= {arm: f"missing, {share} done" for arm, share in missing.items() if share.startswith("0/")}
    verdicts |= {arm: f"unstable {share}" for arm, share in unstable.items()}
    return Lesson(results, estimates, uncompared, verdicts, bool(missing), needed)


def tidy(found: Lesson) -> pd.DataFrame:
    """One row per metric and arm: mean, difference, interval, verdict, noise, detectable effect."""
    rows = []
    primary_metric = found.results.declaration["primary_metric"]
    for metric, estimate in found.estimates.items():
        shared = {
            "seeds": estimate.seeds,
            "residual_noise": estimate.noise,
            "degrees_of_freedom": estimate.degrees,
            "noise_pooled": estimate.pooled,
            "detectable_effect": estimate.detectable,
        }
        rows += [
            {"metric": metric, **row, "verdict": found.verdicts[arm] if metric == primary_metric else None, **shared}
            for arm, row in _numbers(found, estimate).items()
        ]
    for metric, means in found.uncompared.items():
        blank = dict.fromkeys(("difference", "low", "high", "verdict"))
        rows += [{"metric": metric, "arm": label, "mean": mean, **blank} for label, mean in means.items()]
    return pd.DataFrame(rows)


def _numbers(found: Lesson, estimate: Estimate) -> dict[str, dict[str, object]]:
    """The numbers of every arm, in the order of the command; none for an arm that is unstable or missing."""
    rows: dict[str, dict[str, object]] = {
        arm.label: {"arm": arm.label, "mean": None, "difference": None, "low": None, "high": None}
        for arm in found.results.arms
    }
    rows[estimate.baseline]["mean"] = estimate.baseline_mean
    for difference in estimate.differences:
        rows[difference.arm] = asdict(difference)
    return rows
