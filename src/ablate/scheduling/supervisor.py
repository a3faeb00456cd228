"""The supervisor of a trial owns its lease, record, log, W&B run and signals while a worker trains. No torch here."""

import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ablate.config.parse import trial_from_container
from ablate.config.registry import plugin_packages
from ablate.config.trial import TrialConfig
from ablate.errors import FailureError, UsageError, UserError
from ablate.evaluation.suite import suite_ids, validation_id
from ablate.identity import differences, semantic, trial_id
from ablate.records.lease import LockedError
from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.provenance import provenance
from ablate.records.trial import Failure, Status
from ablate.scheduling.job import Job
from ablate.scheduling.reconcile import died_repeatedly, is_done, is_validated, was_finished
from ablate.scheduling.recorder import Recorder, record_end
from ablate.scheduling.workers import EXIT_SECONDS, Workers, start_workers
from ablate.training.initial import resolve_init_from
from ablate.training.messages import Assignment, Ended
from ablate.training.preemption import SIGNALS

StartWorkers = Callable[[Assignment], Workers]


def supervise(job: Job, start: StartWorkers = start_workers) -> bool:
    """Run a trial in worker processes, one per device, and record how it ended.

    Args:
        start: starts the workers, or finds those that something else has started.

    Returns:
        False if it failed, diverged or was asked to stop. True also if another process runs it, and if nothing was
        left to do.
    """
    folder = Ledger(job.runs_dir).trial(job.trial_id)
    with suppress(LockedError), StopRequest().caught() as stop, folder.lease:
        return _supervise(folder, job, stop, start)
    return True


def run_job(job: Job) -> None:
    """Supervise a job in a process of its own, whose exit code is 1 if the trial did not finish."""
    if not supervise(job):
        raise SystemExit(1)


class StopRequest:
    """SIGTERM and SIGUSR1 to the supervisor, passed on to its workers.

    Attributes:
        signal: the newest one; None until one arrives.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._workers: Workers | None = None

    @contextmanager
    def caught(self) -> Iterator["StopRequest"]:
        """Catch the signals inside the block."""
        is_main = threading.current_thread() is threading.main_thread()
        before = {number: signal.signal(number, self._handle) for number in SIGNALS} if is_main else {}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def passed_to(self, workers: Workers) -> Iterator[None]:
        """Pass the signals on to the workers inside the block."""
        self._workers = workers
        try:
            yield
        finally:
            self._workers = None

    def pass_on(self) -> None:
        """Send the workers what has arrived, if something has."""
        if self.signal is not None and self._workers is not None:
            self._workers.send_signal(self.signal)

    def _handle(self, number: int, frame: object) -> None:
        self.signal = signal.Signals(number)
        self.pass_on()


def _supervise(folder: TrialFolder, job: Job, stop: StopRequest, start: StartWorkers) -> bool:
    record = folder.record()
    is_scoring = was_finished(record)
    trial: TrialConfig | None = None
    recorder: Recorder | None = None
    try:
        trial = _frozen_trial(folder)
        suites = frozenset(suite_ids(trial).values())
        if is_done(record, suites) if job.candidate is None else is_validated(record, validation_id(trial)):
            return True
        code = provenance(Path(__file__), folder.path.parent / "diffs", plugin_packages())
        folder.update(is_scoring=is_scoring, provenance=code)
        hardware = trial.hardware
        folder.begin_attempt(threads=hardware.threads_per_trial, ranks=hardware.ranks, job=job.restarts_as)
        if job.restarts_as is not None and died_repeatedly(folder, job.restarts_as):
            raise FailureError("its process died twice at the same step without an error, so it does not start again")
        if not is_scoring:
            check_initial_weights(trial, folder)
        recorder = Recorder(folder, trial, job.candidate)
        assignment = Assignment(
            trial,
            folder,
            suites - record.evaluations.keys(),
            split="test" if job.candidate is None else "validation",
            is_trained=folder.is_trained,
            has_pruner=job.candidate is not None,
        )
        ended = _run_workers(assignment, recorder, stop, start)
    except Exception as error:
        if isinstance(error, UserError):
            print(error, file=sys.stderr)
        else:
            traceback.print_exc()
        ended = Ended(Status.FAILED, Failure(f"{type(error).__name__}: {error}", traceback.format_exc()))
    record_end(folder, trial, ended, job, is_scoring=is_scoring)
    if recorder is not None:
        recorder.close(ended)
    return ended.status in (Status.FINISHED, Status.PRUNED)


def _run_workers(assignment: Assignment, recorder: Recorder, stop: StopRequest, start: StartWorkers) -> Ended:
    """Start the workers, serve them until the trial ends, and return only when their processes are gone."""
    if stop.signal is not None:
        return Ended(Status.PENDING)
    workers, patience = start(assignment), 0.0
    try:
        with stop.passed_to(workers):
            # By then a worker catches signals; one that came before was lost or has killed it.
            ended = workers.serve(recorder.handle, greet=stop.pass_on)
        if workers.died and stop.signal is not None:
            ended = Ended(Status.PENDING)
        patience = 0.0 if ended.status == Status.FAILED else EXIT_SECONDS
        return ended
    finally:
        workers.end(patience)


def _frozen_trial(folder: TrialFolder) -> TrialConfig:
    trial = trial_from_container(folder.frozen())
    if trial_id(trial) != folder.trial_id:
        frozen = folder.record().semantic
        changes = "\n".join(f"  {difference}" for difference in differences(dict(frozen), semantic(trial)))
        raise UsageError(
            f"{folder.config_path}: describes the trial {trial_id(trial)} now, not {folder.trial_id}:\n{changes}\n"
            "If the file was edited, run the grid again to write it anew. If ablate's code changed, run the grid again "
            "to get a new trial."
        )
    return trial


def check_initial_weights(trial: TrialConfig, folder: TrialFolder) -> None:
    """Reject initial weights that changed since the trial was frozen. A trial with a checkpoint needs them no more.

    Raises:
        UsageError: `init_from` names other weights now.
    """
    if trial.init_from is None or folder.checkpoints.newest_step is not None:
        return
    weights_id = resolve_init_from(trial, folder.path.parent)
    if weights_id != trial.init_from_id:
        raise UsageError(
            f"init_from={trial.init_from}: holds other weights now ({weights_id}) than when the trial was frozen "
            f"({trial.init_from_id}). Put the former back, or run the grid again to get a new trial."
        )
