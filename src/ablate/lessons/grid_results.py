"""A grid's results as tables, read from logs, and the checks without which they can't be compared."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import pandas as pd

from ablate.lessons.contrast import Contrast
from ablate.records.grid import ArmRecord, Declaration, GridRecord
from ablate.records.logs import Logs
from ablate.records.trial import Scores, Status, TrainResult, TrialRecord

MAX_UNMATCHED_FRACTION = 0.01
# Of the shorter arm, how much the last digest that both logged must cover.
MIN_CHECKED_FRACTION = 0.9
UNIGRAM = "bpb_full_unigram"
# What is left of weights that cancel.
LEAST_WEIGHT = 1e-12


class IncomparableError(RuntimeError):
    """The arms can't be compared; the message has the numbers."""


@dataclass(frozen=True)
class GridResults:
    """What the trials of one grid found so far."""

    logs: Logs
    grid: GridRecord

    @property
    def grid_id(self) -> str:
        """The grid's id."""
        return self.grid.grid_id

    @property
    def declaration(self) -> Declaration:
        """What the grid is to decide, as declared before it ran."""
        return self.grid.declaration

    @property
    def primary_metric(self) -> str:
        """What the lesson is mainly about."""
        return self.declaration.primary_metric

    @property
    def is_declared(self) -> bool:
        """Whether the declaration is the first under its name; another declaration after it is exploratory."""
        return not self.grid.other_declarations

    @property
    def seeds(self) -> int:
        """How many seeds each arm has been given."""
        return max(len(arm.trials) for arm in self.arms)

    @cached_property
    def contrasts(self) -> list[Contrast]:
        """What is compared, each arm by the one label of its trials; contrasts of one trial with itself are gone."""
        owner = {arm.label: arm.same_as or arm.label for arm in self.all_arms}
        contrasts = []
        for contrast in self.declaration.contrasts:
            weights: dict[str, float] = {}
            for label, weight in contrast.weights.items():
                weights[owner[label]] = weights.get(owner[label], 0.0) + weight
            kept = {label: weight for label, weight in weights.items() if abs(weight) > LEAST_WEIGHT}
            if kept:
                contrasts.append(Contrast(contrast.name, contrast.metric, kept))
        return contrasts

    def trials_of(self, label: str) -> list[str]:
        """The trials of an arm, seed by seed."""
        return [trial for arm in self.arms if arm.label == label for trial in arm.trials.values()]

    @property
    def all_arms(self) -> tuple[ArmRecord, ...]:
        """The arms in the order of the command, also those that are another arm under a second name."""
        return self.grid.arms

    @cached_property
    def arms(self) -> list[ArmRecord]:
        """The arms that are trials of their own."""
        return [arm for arm in self.all_arms if arm.same_as is None]

    @property
    def baseline(self) -> str:
        """The label of the arm that the others are compared to."""
        declared = self.declaration.baseline or self.arms[0].label
        [arm] = [arm for arm in self.all_arms if arm.label == declared]
        return arm.same_as or arm.label

    def is_post_hoc(self, contrast: Contrast) -> bool:
        """Whether it could be seen, in part, before the lesson was declared."""
        known = set(self.grid.known_before)
        return all(known & set(self.trials_of(label)) for label in contrast.weights)

    @cached_property
    def records(self) -> dict[str, TrialRecord]:
        """The record of each trial."""
        return {trial: self.logs.record(trial) for arm in self.arms for trial in arm.trials.values()}

    def _trials(self) -> Iterator[tuple[ArmRecord, str, TrialRecord]]:
        for arm in self.arms:
            for seed, trial in arm.trials.items():
                yield arm, seed, self.records[trial]

    def summary(self, record: TrialRecord) -> Scores:
        """A trial's metrics under this grid's evaluation; {} where it was not scored so."""
        return record.evaluations.get(self.grid.evaluation_id, {})

    def missing(self) -> dict[str, str]:
        """Arms whose trials did not diverge and are not all scored, as `k/n` of those that are."""
        found = {}
        for arm in self.arms:
            records = [self.records[trial] for trial in arm.trials.values()]
            scored = sum(bool(self.summary(record)) for record in records)
            if scored + sum(record.status == Status.DIVERGED for record in records) < len(records):
                found[arm.label] = f"{scored}/{len(records)}"
        return found

    def unstable(self) -> dict[str, str]:
        """Arms with diverged trials, as `k/n`."""
        found = {}
        for arm in self.arms:
            diverged = sum(self.records[trial].status == Status.DIVERGED for trial in arm.trials.values())
            if diverged:
                found[arm.label] = f"{diverged}/{len(arm.trials)}"
        return found

    def values(self, metric: str) -> pd.DataFrame:
        """One row per arm that has results and did not diverge, one column per seed that all of these arms have."""
        unstable = self.unstable()
        rows = {
            arm.label: {seed: self.summary(self.records[trial]).get(metric) for seed, trial in arm.trials.items()}
            for arm in self.arms
            if arm.label not in unstable
        }
        table = pd.DataFrame.from_dict(rows, orient="index", dtype=float)
        table = table.where(np.isfinite(table))
        return table.dropna(axis="index", how="all").dropna(axis="columns")

    def not_finite(self) -> list[tuple[str, str, str]]:
        """Arm, seed and metric of every score that is not a number."""
        return [
            (arm.label, seed, name)
            for arm, seed, record in self._trials()
            for name, value in self.summary(record).items()
            if not math.isfinite(value)
        ]

    def metrics(self) -> list[str]:
        """The names of all metrics of the arms, the primary one first."""
        names = {name for _, _, record in self._trials() for name in self.summary(record)} - {UNIGRAM}
        primary = self.primary_metric
        return sorted(names, key=lambda name: (name != primary, name.split("/")[0] != primary, name))

    def unigram(self) -> dict[str, float]:
        """Each arm's `bpb_full` under a unigram model of its training mixture."""
        found = {}
        for arm, _, record in self._trials():
            if UNIGRAM in self.summary(record):
                found[arm.label] = self.summary(record)[UNIGRAM]
        return found

    def history(self, labels: Collection[str], columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The one table of these arms: `arm`, `seed`, the swept options, `trial_id`, `step`, metrics (see `Logs`)."""
        rows = {
            trial: {"arm": arm.label, "seed": seed, **arm.options}
            for arm in self.arms
            if arm.label in labels
            for seed, trial in arm.trials.items()
        }
        table = self.logs.history(list(rows), self.grid.evaluation_id, columns)
        about = pd.DataFrame.from_dict(rows, orient="index").loc[table["trial_id"]].reset_index(drop=True)
        return pd.concat([about, table], axis="columns")

    def accounting(self) -> pd.DataFrame:
        """Per arm, the means over finished trials of what was read, asked and computed."""
        rows = [
            {
                "arm": arm.label,
                **{name: value for name, value in vars(result.counters).items() if name not in ("steps", "windows")},
                "parameters": result.parameters,
                "training_seconds": result.training_seconds,
            }
            for arm, result in self._results()
        ]
        table = pd.DataFrame(rows)
        return table.groupby("arm", sort=False).mean() if rows else table

    def _results(self) -> Iterator[tuple[ArmRecord, TrainResult]]:
        """What the training of each finished trial measured."""
        for arm, _, record in self._trials():
            if record.result and self.summary(record):
                yield arm, record.result

    def reading(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Per arm and source the share of the rows and the epochs, as means over finished trials."""
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

    def check_comparable(self) -> None:
        """Refuses arms that were not given the same.

        Raises:
            IncomparableError: a budget unmatched by more than 1%, or, where the declaration pairs windows, arms that
                read different windows under one seed.
        """
        matched_on = self.declaration.matched_on
        accounting = self.accounting()
        if accounting.empty:
            return
        counts = accounting[matched_on]
        if counts.max() > (1 + MAX_UNMATCHED_FRACTION) * counts.min():
            given = ", ".join(f"{arm} {count:,.0f}" for arm, count in counts.items())
            raise IncomparableError(
                f"The arms differ by {counts.max() / counts.min() - 1:.1%} in {matched_on}, on which the lesson is "
                f"matched: {given}. At most {MAX_UNMATCHED_FRACTION:.0%} is allowed."
            )
        if self.declaration.pairing == "windows":
            self._check_paired()

    def _check_paired(self) -> None:
        by_seed: dict[str, list[tuple[ArmRecord, TrialRecord]]] = {}
        ends: dict[str, set[tuple[int, str]]] = {}
        for arm, seed, record in self._trials():
            if record.result and self.summary(record):
                by_seed.setdefault(seed, []).append((arm, record))
                counters = record.result.counters
                ends.setdefault(seed, set()).add((counters.train_tokens, counters.windows))
        for seed, of_seed in by_seed.items():
            # Arms that read as many tokens end in one digest; only where they did not are their logs compared.
            if len(ends[seed]) > 1:
                self._check_logs_paired(seed, of_seed)

    def _check_logs_paired(self, seed: str, of_seed: list[tuple[ArmRecord, TrialRecord]]) -> None:
        chains = []
        for arm, record in of_seed:
            rows = self.logs.history([record.trial_id], "", ["data/train_tokens", "data/windows"])
            tokens = rows["data/train_tokens"].astype(int)
            chains.append((arm.label, dict(zip(tokens, rows["data/windows"].astype(str), strict=True))))
        for (one, first), (other, second) in combinations(chains, 2):
            shared = first.keys() & second.keys()
            shorter = min(max(first), max(second))
            if not shared or max(shared) < MIN_CHECKED_FRACTION * shorter:
                raise IncomparableError(
                    f"With seed {seed} the arms {one} and {other} were logged at different steps, so that nothing "
                    "tells whether they read the same windows. Run both with the same tracking.log_every_steps, "
                    "in another runs_dir."
                )
            if first[max(shared)] != second[max(shared)]:
                raise IncomparableError(
                    f"With seed {seed} the arms {one} and {other} read different windows, so they are not paired. "
                    "If the data is what you compare, sweep its group (corpus, mixture, tokenizer or scale)."
                )
