"""The candidates of a tuning, as the scheduler runs them: asked from studies, which are told how they ended.

A killed command's work is resumed by the next one: its candidates are in their studies, what was trained of them is in
the ledger, and which command works on a candidate is known by that command's lease.
"""

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from ablate.config.parse import trial_to_container
from ablate.errors import UsageError
from ablate.evaluation.suite import validation_id
from ablate.identity import semantic
from ablate.records.lease import LockedError, live_holder
from ablate.records.ledger import Ledger
from ablate.records.metrics import read_validation
from ablate.records.trial import Scores, Status, TrialRecord, ValidationSeries
from ablate.records.tuning import CandidateRef, texts
from ablate.scheduling.job import Job, Resources
from ablate.scheduling.reconcile import is_validated, reconcile
from ablate.scheduling.source import IsTaken
from ablate.tuning.point import Point, shown
from ablate.tuning.study import ArmStudy
from ablate.tuning.tuning import Tuning

# How long a command may take to put its name on a candidate that it has asked for.
NAMELESS_SECONDS = 30.0
Key = tuple[str, int]


@dataclass(frozen=True)
class OpenCandidate:
    """A candidate of an arm's study that has not ended.

    Attributes:
        trial: the study's trial, as Optuna has it.
        point: the trial that is run for it.
    """

    study: ArmStudy
    trial: optuna.Trial
    point: Point

    @property
    def key(self) -> Key:
        """The names of study and candidate."""
        return self.study.name, self.trial.number

    @property
    def trial_id(self) -> str:
        """The id of the trial in the ledger."""
        return self.point.trial_id

    @property
    def label(self) -> str:
        """The arm and the values, for people."""
        return f"{self.point.arm.label}, {' '.join(texts(self.point.values).values())}"

    @property
    def budget_tokens(self) -> int:
        """See `Shown`."""
        return self.point.trial.budget.train_tokens


class TuningSource:
    """Offers candidates until every study has as many as it needs; see `TrialSource`.

    Args:
        studies: by the label of the tuning.
        owner: the name under which this command holds its lease.

    Attributes:
        failed: candidates that failed or ended early in this command, by trial id.
    """

    noun = "tuning"

    def __init__(self, tuning: Tuning, studies: Mapping[str, ArmStudy], owner: str, console: Console) -> None:
        self._tuning = tuning
        self._studies = studies
        self._owner = owner
        self._console = console
        self.failed: dict[str, OpenCandidate] = {}
        self.shown: dict[str, OpenCandidate] = {}
        self._open: dict[Key, OpenCandidate] = {}
        self._tried: set[Key] = set()
        for study in studies.values():
            study.try_again()
        self.total = sum(study.n_trials - study.ended for study in studies.values())
        parallel = tuning.expanded.arms[0].composed.trial.hardware.parallel_trials
        self.batch: int | None = tuning.config.batch or parallel

    @property
    def ledger(self) -> Ledger:
        """See `TrialSource`."""
        return self._tuning.ledger

    def next_job(self, is_taken: IsTaken) -> Job | None:
        """See `TrialSource`."""
        while True:
            for earlier in list(self._open.values()):
                self._tell(earlier)
            candidate = self._next(is_taken)
            if candidate is None:
                return None
            self._open[candidate.key] = candidate
            if self._tell(candidate) or is_taken(candidate.trial_id):
                continue
            self._tried.add(candidate.key)
            self._freeze(candidate)
            reference = CandidateRef(self._tuning.storage, *candidate.key)
            resources = Resources.of(candidate.point.trial.hardware)
            return Job(candidate.trial_id, self.ledger.runs_dir, reference, resources)

    def _next(self, is_taken: IsTaken) -> OpenCandidate | None:
        """What another process had and left, what a killed command left, or a new one for the arm with the fewest."""
        for key, candidate in self._open.items():
            if key not in self._tried and not is_taken(candidate.trial_id):
                return candidate
        for label, study in sorted(self._studies.items(), key=lambda item: len(item[1].trials())):
            for left in self._left(study):
                # Another command may have resumed and ended it at this moment.
                with contextlib.suppress(UpdateFinishedTrialError):
                    if (adopted := self._candidate(label, study, study.adopt(left, self._owner))) is not None:
                        return adopted
            while not study.is_spent:
                if (new := self._candidate(label, study, study.ask(self._owner))) is not None:
                    return new
        return None

    def _candidate(self, label: str, study: ArmStudy, trial: optuna.Trial) -> OpenCandidate | None:
        """Draw a study's trial, as far as it is not drawn yet. None if it cannot be run."""
        search, points = self._tuning.searches[label], self._tuning.points
        values = self._tuning.space.suggest(trial, points.lookup(search.arm))
        try:
            point = points.make(search.arm, values).under(search.seeds)
        except UsageError as error:
            self._console.print(f"{label} with {shown(values)} is invalid: {error}", markup=False, soft_wrap=True)
            study.refuse(trial, str(error))
            return None
        trial.set_user_attr("values", values)
        trial.set_user_attr("trial_id", point.trial_id)
        return OpenCandidate(study, trial, point)

    def _left(self, study: ArmStudy) -> list[FrozenTrial]:
        """The running trials of a study that no living command has."""
        return [trial for trial in self._of_others(study) if not self._has_owner(trial)]

    def _of_others(self, study: ArmStudy) -> list[FrozenTrial]:
        own = {number for name, number in (*self._tried, *self._open) if name == study.name}
        return [trial for trial in study.trials(TrialState.RUNNING) if trial.number not in own]

    def _has_owner(self, trial: FrozenTrial) -> bool:
        """Whether another living command has a candidate. One that is new and has no name yet may have one soon."""
        owner = trial.user_attrs.get("sweeper")
        if owner is None:
            started = trial.datetime_start
            return started is not None and (datetime.now(started.tzinfo) - started).total_seconds() < NAMELESS_SECONDS
        return owner != self._owner and live_holder(self.ledger.owner_folder(owner), watch_seconds=0) is not None

    def _freeze(self, candidate: OpenCandidate) -> None:
        point = candidate.point
        record = TrialRecord(
            point.trial_id,
            options=point.options,
            choices=point.choices,
            first_grid=self._tuning.tuning_id,
            semantic=semantic(point.trial),
        )
        self.ledger.freeze(record, trial_to_container(point.trial))
        folder = self.ledger.trial(point.trial_id)
        # How it ended in an earlier command says nothing of how it ends now.
        reconcile(folder, is_interrupted=True)
        if folder.status in (Status.FAILED, Status.PRUNED):
            with contextlib.suppress(LockedError), folder.lease:
                folder.update(status=Status.PENDING, failure=None)
        self.shown[point.trial_id] = candidate

    def is_done(self, job: Job, record: TrialRecord) -> bool:
        """See `TrialSource`."""
        return is_validated(record, validation_id(self.shown[job.trial_id].point.trial))

    def job_ended(self, job: Job, *, may_retry: bool) -> None:
        """See `TrialSource`."""
        assert job.candidate is not None
        key = (job.candidate.study, job.candidate.number)
        candidate = self._open.get(key)
        if candidate is None or self._tell(candidate):
            return
        if may_retry:
            self._tried.discard(key)
        elif not self.ledger.trial(job.trial_id).is_locked:
            # Somebody else has asked it to stop. What was drawn and trained stays for the next command.
            self.failed[job.trial_id] = self._open.pop(key)

    def count_waiting(self, is_taken: IsTaken) -> int:
        """See `TrialSource`."""
        count = len(self._open) + sum(len(self._of_others(study)) for study in self._studies.values())
        return count or int(not all(study.is_spent for study in self._studies.values()))

    def _tell(self, candidate: OpenCandidate) -> bool:
        """Tell a candidate's study how it ended; False if it has not ended."""
        folder = self.ledger.trial(candidate.trial_id)
        record, study, number = folder.record(), candidate.study, candidate.trial.number
        is_own = candidate.key in self._tried
        if is_validated(record, validation_id(candidate.point.trial)):
            values = self._values(candidate, record)
            with contextlib.suppress(UpdateFinishedTrialError):
                self._report_validation(candidate, record)
            # A diverged trial has no number that others can be compared with.
            study.tell(number, TrialState.COMPLETE if values else TrialState.PRUNED, values)
        elif record.status == Status.PRUNED and _pruned_by(record) == candidate.key:
            study.tell(number, TrialState.PRUNED)
        elif record.status == Status.FAILED and is_own and not folder.is_locked:
            self.failed[candidate.trial_id] = candidate
            study.failed_now += 1
            study.tell(number, TrialState.FAIL)
        else:
            return False
        self._open.pop(candidate.key, None)
        return True

    def _values(self, candidate: OpenCandidate, record: TrialRecord) -> list[float] | None:
        """What a candidate is compared by; None if it diverged."""
        scores = record.validation.get(validation_id(candidate.point.trial))
        if scores is None or record.result is None:
            return None
        known = {**scores, **vars(record.result.counters), **vars(record.result)}
        values = [float(known.get(name, math.nan)) for name in self._tuning.metrics]
        return values if all(map(math.isfinite, values)) else None

    def _report_validation(self, candidate: OpenCandidate, record: TrialRecord) -> None:
        """Report the scores during the training of a trial that did not run for this candidate alone."""
        evaluation = candidate.point.trial.evaluation
        series = ValidationSeries(validation_id(candidate.point.trial), evaluation.val_evaluations)
        if len(self._tuning.metrics) > 1 or any(
            attempt.validation not in (None, series) for attempt in record.attempts
        ):
            return
        [name] = self._tuning.metrics
        reported = candidate.study.reported(candidate.trial.number)
        path = self.ledger.trial(candidate.trial_id).metrics_path
        for step, scores in read_validation(path, evaluation.val_evaluations):
            if name in scores and step not in reported:
                candidate.trial.report(scores[name], step)
                # Pruners of rungs count the trials that were asked there.
                candidate.trial.should_prune()

    def scores(self, record: TrialRecord) -> Scores | None:
        """See `TrialSource`."""
        values = self._values(self.shown[record.trial_id], record)
        return None if values is None else dict(zip(self._tuning.metrics, values, strict=True))

    def progress(self) -> str:
        """See `TrialSource`."""
        ended = sum(study.ended for study in self._studies.values())
        return f"{ended} of {sum(study.n_trials for study in self._studies.values())} candidates are finished"


def _pruned_by(record: TrialRecord) -> Key | None:
    """The candidate that was pruned, without its storage, which may have moved with the ledger."""
    by = record.pruned_by
    return (by.study, by.number) if by else None
