"""Turns the messages of a trial's worker into its record, its log and its mirrors, and reports to its study."""

import logging
import time
from typing import Any

from ablate.config.trial import TrialConfig
from ablate.errors import LedgerError
from ablate.evaluation.suite import validation_id
from ablate.records.ledger import TrialFolder
from ablate.records.metrics import MetricsWriter, read_metrics, read_validation, write_parquet
from ablate.records.trial import Status, ValidationSeries
from ablate.records.tuning import CandidateRef
from ablate.scheduling.job import Job
from ablate.scheduling.mirrors import mirrors_of, outcome
from ablate.training.messages import (
    Activity,
    Decision,
    Ended,
    LogRow,
    LogSynced,
    Message,
    Recorded,
    Reply,
    SuiteScored,
    SyncLog,
    Trained,
    TrainingBegins,
    ValidationScored,
)

log = logging.getLogger(__name__)


class Recorder:
    """Handles a worker's messages. The caller holds the trial's lease and has begun an attempt.

    Args:
        candidate: the trial of a study that the scores on the validation split are reported to.
    """

    def __init__(self, folder: TrialFolder, trial: TrialConfig, candidate: CandidateRef | None = None) -> None:
        self._folder = folder
        self._trial = trial
        self._candidate = None
        if candidate is not None:
            # Optuna takes a second to import.
            from ablate.records.optuna.studies import Candidate

            self._candidate = Candidate(candidate)
        self._log: MetricsWriter | None = None
        self._mirrors = mirrors_of(folder, trial)

    def handle(self, message: Message) -> Reply | None:
        """Handle a message and return its reply, if it has one.

        Raises:
            LedgerError: the log cannot be written.
        """
        match message:
            case Activity(name):
                self._folder.update_attempt(activity=name)
            case LogRow(step, values):
                assert self._log is not None
                self._log.append(step, dict(values))
                for mirror in self._mirrors:
                    mirror.append(step, dict(values))
            case SyncLog():
                assert self._log is not None
                return LogSynced(self._log.sync())
            case TrainingBegins():
                return Decision(self._begin_training(message))
            case ValidationScored(number, scores):
                assert self._candidate is not None
                return Decision(self._candidate.should_prune(number, scores))
            case Trained():
                self._record_training(message)
                return Recorded()
            case SuiteScored():
                self._record_scores(message)
        return None

    def _begin_training(self, message: TrainingBegins) -> bool:
        """Cut the log back to the checkpoint, and report to the study what the log has; whether to prune by that."""
        evaluations = self._trial.evaluation.val_evaluations
        series = ValidationSeries(validation_id(self._trial), evaluations)
        self._folder.update_attempt(from_step=message.from_step, validation=series, strategy=message.strategy)
        self._log = MetricsWriter(self._folder.metrics_path, keep_bytes=message.log_bytes)
        for mirror in self._mirrors:
            mirror.begin(read_metrics(self._folder.metrics_path))
        should_prune = False
        # An attempt that did not train has logged nothing.
        logged = {attempt.validation for attempt in self._folder.record().attempts} - {None}
        if self._candidate is not None and logged == {series}:
            for number, scores in read_validation(self._folder.metrics_path, evaluations):
                should_prune = self._candidate.should_prune(number, scores)
        return should_prune

    def _record_training(self, trained: Trained) -> None:
        assert self._log is not None
        self._log.close()
        write_parquet(read_metrics(self._folder.metrics_path), self._folder.path / "metrics.parquet")
        validation = {validation_id(self._trial): trained.validation} if trained.validation else {}
        self._folder.update(result=trained.result, validation=validation)

    def _record_scores(self, scored: SuiteScored) -> None:
        record = self._folder.record()
        changes: dict[str, Any] = {"evaluations": {**record.evaluations, scored.suite: scored.scores}}
        if scored.conditions:
            changes["conditions"] = {**record.conditions, scored.suite: scored.conditions}
        self._folder.update(**changes)

    def close(self, ended: Ended) -> None:
        """Write what the trial came to into its mirrors, and close them and the log."""
        if self._log is not None:
            self._log.close()
        rows, summary = outcome(self._folder.record(), ended.status)
        for mirror in self._mirrors:
            if self._log is None:
                mirror.begin(read_metrics(self._folder.metrics_path))
            for step, values in rows:
                mirror.append(step, values)
            mirror.conclude(summary)
            mirror.close()


def record_end(folder: TrialFolder, trial: TrialConfig | None, ended: Ended, job: Job, *, is_scoring: bool) -> None:
    """Record how the newest attempt ended. A trial that was stopped stays submitted where its job starts again.

    Args:
        trial: None if its config could not be read.
        is_scoring: the trial was finished before and stays so.
    """
    record = folder.record()
    changes: dict[str, Any] = {"submission": None, "failure": ended.failure}
    changes["status"] = Status.FINISHED if is_scoring else ended.status
    if ended.status == Status.PENDING and job.restarts_as is not None:
        changes |= {"status": Status.SUBMITTED, "submission": job.restarts_as}
    if ended.status == Status.FINISHED:
        changes["finished_at"] = time.time()
    if ended.validation and trial is not None:
        changes["validation"] = {**record.validation, validation_id(trial): ended.validation}
    if ended.status == Status.PRUNED:
        changes["pruned_by"] = job.candidate
    try:
        folder.end_attempt(ended.status, **changes)
    except (OSError, LedgerError) as error:
        # A full disk is reported by the error that it caused.
        log.error("The end of the trial could not be recorded: %s", error)
