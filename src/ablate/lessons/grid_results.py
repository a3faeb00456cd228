"""The results of a grid's trials as tables."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from ablate.lessons.contrast import Contrast, merged
from ablate.records.grid import ArmRecord, Declaration, GridRecord, arm_and_rung
from ablate.records.logs import Logs
from ablate.records.metric import Metric
from ablate.records.seen import Seen
from ablate.records.trial import Scores, Status, TrainResult, TrialRecord

# A metric, and what a unigram model of the training mixture reaches on it.
UNIGRAM_METRIC, UNIGRAM = "bpb_full", "bpb_full_unigram"


@dataclass(frozen=True)
class GridResults:
    """The results of a grid's trials so far."""

    logs: Logs
    grid: GridRecord

    @property
    def grid_id(self) -> str:
        """The grid's id."""
        return self.grid.grid_id

    @property
    def declaration(self) -> Declaration:
        """The declaration, made before the grid ran."""
        return self.grid.declaration

    @property
    def primary_metric(self) -> str:
        """The name of the primary metric."""
        return self.declaration.primary_metric

    @property
    def is_declared(self) -> bool:
        """Whether the declaration is the first under its name; another declaration after it is exploratory."""
        return not self.grid.other_declarations

    @property
    def seeds(self) -> int:
        """The number of seeds per arm."""
        return self.grid.seeds

    @cached_property
    def contrasts(self) -> list[Contrast]:
        """The declared contrasts. Arms with the same trials count once; contrasts of an arm with itself are omitted."""
        owner = {arm.label: arm.same_as or arm.label for arm in self.all_arms}
        return [
            Contrast(contrast.name, contrast.metric, weights)
            for contrast in self.declaration.contrasts
            if (weights := merged(contrast.weights, owner))
        ]

    def trials_of(self, label: str) -> list[str]:
        """The ids of an arm's trials, in the order of its seeds."""
        return [trial for arm in self.arms if arm.label == label for trial in arm.trials.values()]

    @property
    def all_arms(self) -> tuple[ArmRecord, ...]:
        """The arms in the order of the command, including those with the trials of an earlier arm."""
        return self.grid.arms

    @cached_property
    def arms(self) -> list[ArmRecord]:
        """The arms with trials of their own."""
        return [arm for arm in self.all_arms if arm.same_as is None]

    @property
    def baseline(self) -> str:
        """The label of the arm that others are compared with."""
        return self.grid.baseline.same_as or self.grid.baseline.label

    @cached_property
    def baselines(self) -> frozenset[str]:
        """The labels of the baselines: with a ladder one on each rung."""
        if self.declaration.ladder is None:
            return frozenset({self.baseline})
        over, name = self.declaration.over, self.baseline_name
        return frozenset(
            arm.same_as or arm.label for arm in self.all_arms if arm_and_rung(arm.options, over)[0] == name
        )

    @property
    def baseline_name(self) -> str:
        """How tables call what others are compared with: the baseline's label, with a ladder without its rung."""
        over = self.declaration.over
        return arm_and_rung(self.grid.baseline.options, over)[0] if over else self.baseline

    def is_post_hoc(self, contrast: Contrast) -> bool:
        """Whether trials of all of its arms were scored before the lesson was declared."""
        known = set(self.grid.known_before)
        return all(known & set(self.trials_of(label)) for label in contrast.weights)

    @property
    def seen(self) -> Seen:
        """What the ledger held when the grid was declared."""
        return self.grid.seen or Seen()

    @property
    def try_number(self) -> int:
        """How often the grid's questions have been asked, with this time."""
        return len(self.seen.tries) + 1

    def error(self, contrasts: int) -> float:
        """Return the error that so many of the declared contrasts share, in proportion to their number."""
        sharing = self.declaration.planned_comparisons or len(self.contrasts)
        return (1 - self.declaration.confidence) * contrasts / max(1, sharing)

    @cached_property
    def records(self) -> dict[str, TrialRecord]:
        """Trial id → record."""
        return {trial: self.logs.record(trial) for arm in self.arms for trial in arm.trials.values()}

    def of_trials(self) -> Iterator[tuple[ArmRecord, str, TrialRecord]]:
        """Yield arm, seed and record of each trial."""
        for arm in self.arms:
            for seed, trial in arm.trials.items():
                yield arm, seed, self.records[trial]

    def metric(self, name: str) -> Metric:
        """The metric of a name, which may end in a slash and a source."""
        return self.grid.metric(name)

    def smallest_effect(self, contrast: Contrast) -> float:
        """The least value of a declared contrast that matters.

        Its own one, else the lesson's where its unit is that of the primary metric, else its metric's.
        """
        [own] = [each.smallest_effect for each in self.declaration.contrasts if each.name == contrast.name]
        metric = self.metric(contrast.metric)
        is_comparable = metric.unit == self.metric(self.primary_metric).unit
        effect = own or (self.declaration.smallest_effect if is_comparable else metric.smallest_effect)
        assert effect is not None, f"{contrast.name}: declarations without a smallest effect are refused"
        return effect

    def scores(self, record: TrialRecord) -> Scores:
        """The scores that a trial has by this grid's suites."""
        return record.scores(self.grid.suite_ids)

    @cached_property
    def missing(self) -> dict[str, str]:
        """Label → `k/n` trials that are scored, of arms with trials that are neither scored nor diverged."""
        missing = {}
        for arm in self.arms:
            records = [self.records[trial] for trial in arm.trials.values()]
            scored = sum(record.is_scored(self.grid.suite_ids) for record in records)
            if scored + sum(record.status == Status.DIVERGED for record in records) < len(records):
                missing[arm.label] = f"{scored}/{len(records)}"
        return missing

    @cached_property
    def diverged(self) -> dict[str, str]:
        """Label → `k/n` trials that diverged or have a score that is not finite, of arms with such trials."""
        counts = {
            arm.label: sum(self._has_diverged(self.records[trial]) for trial in arm.trials.values())
            for arm in self.arms
        }
        return {arm.label: f"{counts[arm.label]}/{len(arm.trials)}" for arm in self.arms if counts[arm.label]}

    def _has_diverged(self, record: TrialRecord) -> bool:
        return record.status == Status.DIVERGED or not all(map(math.isfinite, self.scores(record).values()))

    def values(self, metric: str) -> pd.DataFrame:
        """A row per arm with results and without diverged trials, a column per seed, NaN where there is no score.

        Made once for all contrasts of a metric, which is not to be changed.
        """
        if metric not in self._known_values:
            self._known_values[metric] = self._values(metric)
        return self._known_values[metric]

    @cached_property
    def _known_values(self) -> dict[str, pd.DataFrame]:
        """What `values` has made, by metric."""
        return {}

    def _values(self, metric: str) -> pd.DataFrame:
        rows = {
            arm.label: {seed: self.scores(self.records[trial]).get(metric) for seed, trial in arm.trials.items()}
            for arm in self.arms
            if arm.label not in self.diverged
        }
        table = pd.DataFrame.from_dict(rows, orient="index", dtype=float)
        return table.dropna(axis="index", how="all").dropna(axis="columns", how="all")

    def paired_values(self, contrast: Contrast) -> pd.DataFrame:
        """A row per arm of a contrast, a column per seed that all of them have."""
        return self.values(contrast.metric).reindex(list(contrast.weights))[self.paired_seeds(contrast)]

    def paired_seeds(self, contrast: Contrast) -> list[str]:
        """The seeds for which all arms of a contrast have a score."""
        values = self.values(contrast.metric)
        places = values.index.get_indexer(pd.Index(list(contrast.weights)))
        if (places < 0).any():
            return []
        return list(values.columns[~np.isnan(values.to_numpy()[places]).any(axis=0)])

    def not_finite(self) -> list[tuple[str, str, str]]:
        """(arm, seed, metric) of every score that is not finite."""
        return [
            (arm.label, seed, name)
            for arm, seed, record in self.of_trials()
            for name, value in self.scores(record).items()
            if not math.isfinite(value)
        ]

    def metrics(self) -> list[str]:
        """The names of all metrics, the primary one first."""
        scored = {name for _, _, record in self.of_trials() for name in self.scores(record)}
        names = [name for name in scored if not self.metric(name).is_reference]
        primary = self.primary_metric
        return sorted(names, key=lambda name: (name != primary, name.split("/")[0] != primary, name))

    def unigram(self) -> dict[str, float]:
        """Label → `bpb_full` of a unigram model of the arm's training mixture."""
        scores = ((arm.label, self.scores(record)) for arm, _, record in self.of_trials())
        return {label: of_trial[UNIGRAM] for label, of_trial in scores if UNIGRAM in of_trial}

    @cached_property
    def no_better_than_unigram(self) -> frozenset[str]:
        """The labels of arms whose mean `bpb_full` is not below that of a unigram model of their training mixture."""
        excess: dict[str, list[float]] = {}
        for arm, _, record in self.of_trials():
            scores = self.scores(record)
            if UNIGRAM in scores and UNIGRAM_METRIC in scores:
                excess.setdefault(arm.label, []).append(scores[UNIGRAM_METRIC] - scores[UNIGRAM])
        return frozenset(label for label, of_arm in excess.items() if np.mean(of_arm) >= 0)

    def documents(self, suites: Collection[str]) -> pd.DataFrame:
        """The scores per document of suites, by id: the columns of `Logs.documents` and `trial`; empty without any."""
        tables = [
            documents.assign(trial=trial)
            for trial in self.records
            if (documents := self.logs.documents(trial, suites)) is not None
        ]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def history(self, labels: Collection[str], columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The log of these arms: `arm`, `seed`, the swept options, `trial_id`, `step`, metrics (see `Logs`)."""
        rows = {
            trial: {"arm": arm.label, "seed": seed, **arm.options}
            for arm in self.arms
            if arm.label in labels
            for seed, trial in arm.trials.items()
        }
        table = self.logs.history(list(rows), self.grid.suite_ids, columns)
        about = pd.DataFrame.from_dict(rows, orient="index").loc[table["trial_id"]].reset_index(drop=True)
        return pd.concat([about, table], axis="columns")

    def accounting(self) -> pd.DataFrame:
        """A row per arm: means over finished trials of tokens, operations, parameters, seconds and speed."""
        rows = [
            {
                "arm": arm.label,
                **{name: value for name, value in vars(result.counters).items() if name not in ("steps", "windows")},
                "parameters": result.parameters,
                "training_seconds": result.training_seconds,
                **result.speed,
            }
            for arm, result in self._results()
        ]
        table = pd.DataFrame(rows)
        return table.groupby("arm", sort=False).mean() if rows else table

    def _results(self) -> Iterator[tuple[ArmRecord, TrainResult]]:
        """The train result of each scored trial."""
        for arm, _, record in self.of_trials():
            if record.result and self.scores(record):
                yield arm, record.result

    def reading(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Label → source → (fraction of sequences, epochs), as means over finished trials."""
        rows = [
            {"arm": arm.label, "source": source, **vars(reading)}
            for arm, result in self._results()
            for source, reading in result.reading.items()
        ]
        table = pd.DataFrame(rows, columns=["arm", "source", "fraction", "epochs"])
        means = table.groupby(["arm", "source"], sort=False, as_index=False).mean()
        reading: dict[str, dict[str, tuple[float, float]]] = {}
        for arm, source, fraction, epochs in means.itertuples(index=False):
            reading.setdefault(arm, {})[source] = (fraction, epochs)
        return reading
