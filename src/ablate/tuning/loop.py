"""Asks the studies of a sweep for candidates, has them run, and tells the studies what came of them.

Whatever a killed sweep left is taken up by the next one: a candidate that was asked for is in its study, what was
trained of it is in the ledger, and which sweep works on it is told by that sweep's lease.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import optuna
from hydra.core.utils import JobReturn, JobStatus
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from ablate.config.parse import trial_to_container
from ablate.console import counted
from ablate.errors import UsageError
from ablate.evaluation.suite import evaluation_id, validation_id
from ablate.grid.job import failure_text, is_validated, reconcile, reconcile_unstarted
from ablate.grid.launch import Interrupts, handling
from ablate.grid.run import interrupt, job_overrides
from ablate.grid.watch import POLL_SECONDS, Watch
from ablate.identity import semantic
from ablate.records.lease import LockedError, live_holder
from ablate.records.metrics import read_validation
from ablate.records.trial import Scores, Status, TrialRecord, ValidationSeries
from ablate.tuning.study import ArmStudy
from ablate.tuning.tuning import Sweep, Variant, shown, texts

# How long a sweep may take to say that a trial it asked for is its own.
NAMELESS_SECONDS = 30.0
Launch = Callable[[Iterable[list[str]]], Sequence[JobReturn]]


@dataclass(frozen=True)
class Asked:
    """A candidate of an arm's study that has not come to its end.

    Attributes:
        study: that made it.
        trial: Optuna's.
        variant: what it is.
    """

    study: ArmStudy
    trial: optuna.Trial
    variant: Variant

    @property
    def label(self) -> str:
        """For people."""
        values = " ".join(texts(self.variant.values).values())
        return f"{self.variant.arm.label}, {values}"

    @property
    def budget_tokens(self) -> int:
        """What it is to be trained on."""
        return self.variant.trial.budget.train_tokens


@dataclass
class Loop:
    """One command's work on a sweep.

    Attributes:
        sweep: what is tuned.
        studies: by arm.
        sweeper: under which name this command holds its lease.
        console: what is shown.
        failed: what failed or ended early in this command.
    """

    sweep: Sweep
    studies: Mapping[str, ArmStudy]
    sweeper: str
    console: Console
    failed: list[Asked] = field(default_factory=list)
    _open: dict[tuple[str, int], Asked] = field(default_factory=dict)
    _launched: dict[str, Asked] = field(default_factory=dict)
    # In the order of their launch; those that are to be launched once more are not among the tried.
    _order: list[Asked] = field(default_factory=list)
    _tried: set[tuple[str, int]] = field(default_factory=set)

    def run(self, launch: Launch) -> None:
        """Returns when every study has its candidates and all of them came to an end, here or in another process.

        Args:
            launch: runs jobs as they come and returns when all have ended.

        Raises:
            KeyboardInterrupt: after the running trials were asked to end, and did.
        """
        for study in self.studies.values():
            study.try_again()
        most = sum(study.n_trials - study.ended for study in self.studies.values())
        watch = Watch(self.sweep.ledger, self._launched, self.console, self._scores, most, "sweep")
        is_told = False
        try:
            with handling(Interrupts.heard(), interrupt), watch.watching():
                while True:
                    self._settle(launch(self._jobs()))
                    waited_for = len(self._open) + self._running_elsewhere()
                    if not waited_for and all(study.is_spent for study in self.studies.values()):
                        return
                    if waited_for and not is_told:
                        is_told = True
                        watch.say(f"Waiting for {counted(waited_for, 'trial')} that other processes run …")
                    time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            for asked in self._open.values():
                reconcile(self.sweep.ledger.trial(asked.variant.trial_id), interrupted=True)
            ended = sum(study.ended for study in self.studies.values())
            total = sum(study.n_trials for study in self.studies.values())
            self.console.print(
                f"\n[bold]Interrupted.[/] {ended} of {total} candidates came to an end and are kept; the same command "
                "goes on with the others."
            )
            raise

    def _jobs(self) -> Iterator[list[str]]:
        """What to run next, decided when there is room for it."""
        while True:
            for earlier in list(self._open.values()):
                self._told(earlier)
            asked = self._next()
            if asked is None:
                return
            if self._told(asked):
                continue
            self._prepare(asked)
            self._order.append(asked)
            yield job_overrides(
                asked.variant.trial_id,
                self.sweep.ledger.runs_dir,
                storage=self.sweep.storage,
                study=asked.study.name,
                number=asked.trial.number,
            )

    def _next(self) -> Asked | None:
        """What another process had and left, what a killed sweep left, or something new for the arm that has least."""
        for key, waiting in self._open.items():
            if key not in self._tried and not self.sweep.ledger.trial(waiting.variant.trial_id).is_locked:
                return self._taken(waiting)
        for label, study in sorted(self.studies.items(), key=lambda item: len(item[1].trials())):
            for left in self._left(study):
                # Another sweep may have taken it up and told of it at this moment.
                with contextlib.suppress(UpdateFinishedTrialError):
                    if (asked := self._asked(label, study, study.adopt(left, self.sweeper))) is not None:
                        return self._taken(asked)
            while not study.is_spent:
                if (asked := self._asked(label, study, study.ask(self.sweeper))) is not None:
                    return self._taken(asked)
        return None

    def _taken(self, asked: Asked) -> Asked:
        key = (asked.study.name, asked.trial.number)
        self._open[key] = asked
        self._tried.add(key)
        return asked

    def _asked(self, label: str, study: ArmStudy, trial: optuna.Trial) -> Asked | None:
        """What a trial of a study proposes; drawn now, as far as it was not yet. None where that can't be run."""
        [arm] = [arm for arm in self.sweep.expanded.arms if arm.label == label]
        variants = self.sweep.variants
        values = self.sweep.space.suggest(trial, variants.found(arm))
        try:
            variant = variants.of(arm, values)
        except UsageError as error:
            self.console.print(f"{label} with {shown(values)} can't be: {error}", markup=False, soft_wrap=True)
            study.refuse(trial, str(error))
            return None
        trial.set_user_attr("values", values)
        trial.set_user_attr("trial_id", variant.trial_id)
        return Asked(study, trial, variant)

    def _left(self, study: ArmStudy) -> list[FrozenTrial]:
        """Trials that run in no sweep that lives."""
        own = {number for name, number in self._tried if name == study.name}
        return [
            trial
            for trial in study.trials(TrialState.RUNNING)
            if trial.number not in own and not self._is_anothers(trial)
        ]

    def _running_elsewhere(self) -> int:
        return sum(
            (study.name, trial.number) not in self._tried
            for study in self.studies.values()
            for trial in study.trials(TrialState.RUNNING)
        )

    def _is_anothers(self, trial: FrozenTrial) -> bool:
        """Whether a sweep that lives asked for it; what was asked for a moment ago, and has no name yet, may be so."""
        sweeper = trial.user_attrs.get("sweeper")
        if sweeper is None:
            started = trial.datetime_start
            return started is not None and (datetime.now(started.tzinfo) - started).total_seconds() < NAMELESS_SECONDS
        folder = self.sweep.ledger.owner_folder(sweeper)
        return sweeper != self.sweeper and live_holder(folder, watch_seconds=0) is not None

    def _prepare(self, asked: Asked) -> None:
        """Freezes what is to run, as this sweep wants it."""
        variant = asked.variant
        record = TrialRecord(
            variant.trial_id,
            options=variant.options,
            choices=variant.choices,
            first_grid=self.sweep.sweep_id,
            semantic=semantic(variant.trial),
        )
        self.sweep.ledger.freeze(record, trial_to_container(variant.trial))
        folder = self.sweep.ledger.trial(variant.trial_id)
        # How it ended before, or that it died with an earlier command, says nothing of how it ends now.
        reconcile(folder, interrupted=True)
        if folder.status in (Status.FAILED, Status.PRUNED):
            with contextlib.suppress(LockedError), folder.lease:
                folder.update(status=Status.PENDING, failure=None)
        self._launched[variant.trial_id] = asked

    def _settle(self, ended: Sequence[JobReturn]) -> None:
        """Tells of every candidate that was launched, now that the processes of all have ended."""
        for asked, one in zip(self._order, ended, strict=True):
            folder, key = self.sweep.ledger.trial(asked.variant.trial_id), (asked.study.name, asked.trial.number)
            reconcile(folder, interrupted=False)
            if one.status != JobStatus.COMPLETED:
                reconcile_unstarted(folder, evaluation_id(asked.variant.trial), str(one._return_value))
            if key not in self._open or self._told(asked):
                continue
            if one.status == JobStatus.COMPLETED:
                # Another process has it, and may leave it.
                self._tried.discard(key)
            elif not folder.is_locked:
                # Asked to end by somebody else. What is drawn and trained stays for the next command.
                self.failed.append(self._open.pop(key))
        self._order.clear()

    def _told(self, asked: Asked) -> bool:
        """Tells a candidate's study how it ended, if it did."""
        folder = self.sweep.ledger.trial(asked.variant.trial_id)
        record, study, number = folder.record(), asked.study, asked.trial.number
        status = record.status
        is_own_ending = (study.name, number) in self._open and asked.variant.trial_id in self._launched
        if is_validated(record, validation_id(asked.variant.trial)):
            values = self._values(asked, record)
            with contextlib.suppress(UpdateFinishedTrialError):
                self._report_what_is_known(asked, record)
            # A loss without an end is no number that others can be measured by; the trial is as bad as one can be.
            state = TrialState.COMPLETE if values else TrialState.PRUNED
            study.tell(number, state, values)
        elif status == Status.PRUNED and _pruned_by(record) == (study.name, number):
            study.tell(number, TrialState.PRUNED)
        elif status == Status.FAILED and is_own_ending and not folder.is_locked:
            self.failed.append(asked)
            study.failed_now += 1
            study.tell(number, TrialState.FAIL)
        else:
            return False
        self._open.pop((study.name, number), None)
        return True

    def _values(self, asked: Asked, record: TrialRecord) -> list[float] | None:
        """What a trial is judged by; None where it diverged."""
        found = record.validation.get(validation_id(asked.variant.trial))
        if found is None or record.result is None:
            return None
        known = {**found, **vars(record.result.counters), **vars(record.result)}
        values = [float(known.get(name, math.nan)) for name in self.sweep.metrics]
        return values if all(map(math.isfinite, values)) else None

    def _report_what_is_known(self, asked: Asked, record: TrialRecord) -> None:
        """What was measured on the way, of a trial that did not run for this candidate alone."""
        evaluation = asked.variant.trial.evaluation
        series = ValidationSeries(validation_id(asked.variant.trial), evaluation.val_evaluations)
        if len(self.sweep.metrics) > 1 or any(attempt.validation != series for attempt in record.attempts):
            return
        [name] = self.sweep.metrics
        reported = asked.study.reported(asked.trial.number)
        folder = self.sweep.ledger.trial(asked.variant.trial_id)
        for step, found in read_validation(folder.metrics_path, evaluation.val_evaluations):
            if name in found and step not in reported:
                asked.trial.report(found[name], step)
                # Pruners of rungs count who was asked there.
                asked.trial.should_prune()

    def _scores(self, record: TrialRecord) -> Scores | None:
        """What is told of a trial that ended."""
        asked = self._launched[record.trial_id]
        values = self._values(asked, record)
        return None if values is None else dict(zip(self.sweep.metrics, values, strict=True))

    def failures(self) -> Iterator[tuple[str, str]]:
        """Of each trial that failed: its label, and what it said."""
        for asked in self.failed:
            yield asked.label, failure_text(self.sweep.ledger.trial(asked.variant.trial_id))


def _pruned_by(record: TrialRecord) -> tuple[str, int] | None:
    """The candidate that was pruned: its storage may have moved with the ledger."""
    by = record.pruned_by
    return (by.study, by.number) if by else None
