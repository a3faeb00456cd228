"""The supervisor of a trial owns its lease, record, log, W&B run and signals while a worker trains. No torch here."""

import os
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from ablate.config.parse import trial_from_container
from ablate.config.trial import TrialConfig
from ablate.errors import UsageError
from ablate.evaluation.suite import suite_ids, validation_id
from ablate.identity import differences, semantic, trial_id
from ablate.objectives.registry import plugin_packages
from ablate.records.lease import LockedError
from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.provenance import provenance
from ablate.records.trial import Failure, Status
from ablate.scheduling.job import Job
from ablate.scheduling.processes import start_process, start_server
from ablate.scheduling.reconcile import died, is_done, is_validated, was_finished
from ablate.scheduling.recorder import Recorder, record_end
from ablate.training.initial import resolve_init_from
from ablate.training.messages import Assignment, Ended
from ablate.training.preemption import SIGNALS

# How long a worker that has reported its end may take to exit.
EXIT_SECONDS = 30.0


def supervise(job: Job) -> bool:
    """Run a trial in a worker process and record how it ended.

    Returns:
        False if it failed, diverged or was asked to stop. True also if another process runs it, and if nothing was
        left to do.
    """
    folder = Ledger(job.runs_dir).trial(job.trial_id)
    with suppress(LockedError), StopRequest().caught() as stop, folder.lease:
        return _supervise(folder, job, stop)
    return True


def run_job(job: Job) -> None:
    """Supervise a job in a process of its own, whose exit code is 1 if the trial did not finish."""
    if not supervise(job):
        raise SystemExit(1)


class StopRequest:
    """SIGTERM and SIGUSR1 to the supervisor, passed on to its worker.

    Attributes:
        signal: the newest one; None until one arrives.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._worker: BaseProcess | None = None

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
    def passed_to(self, worker: BaseProcess) -> Iterator[None]:
        """Pass the signals on to a worker inside the block."""
        self._worker = worker
        try:
            yield
        finally:
            self._worker = None

    def pass_on(self) -> None:
        """Send the worker what has arrived, if something has."""
        if self.signal is not None and self._worker is not None and self._worker.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self._worker.pid, self.signal)

    def _handle(self, number: int, frame: object) -> None:
        self.signal = signal.Signals(number)
        self.pass_on()


def _supervise(folder: TrialFolder, job: Job, stop: StopRequest) -> bool:
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
        folder.begin_attempt(threads=trial.hardware.threads_per_trial)
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
        ended = _run_worker(assignment, recorder, stop)
    except Exception as error:
        traceback.print_exc()
        ended = Ended(Status.FAILED, Failure(f"{type(error).__name__}: {error}", traceback.format_exc()))
    record_end(folder, trial, ended, is_scoring=is_scoring, candidate=job.candidate)
    if recorder is not None:
        recorder.close(ended)
    return ended.status in (Status.FINISHED, Status.PRUNED)


def _run_worker(assignment: Assignment, recorder: Recorder, stop: StopRequest) -> Ended:
    """Start the worker, serve it until it ends, and return only when its process is gone."""
    if stop.signal is not None:
        return Ended(Status.PENDING)
    start_server()
    connection, of_worker = Pipe()
    worker = start_process(
        "ablate.training.worker:run_worker", assignment, of_worker, output=assignment.folder.log_path
    )
    of_worker.close()
    try:
        with stop.passed_to(worker):
            ended = _serve(worker, connection, recorder, stop)
        worker.join(EXIT_SECONDS)
        return ended
    finally:
        # Nothing may write once the lease is released.
        worker.kill()
        worker.join()
        connection.close()


def _serve(worker: BaseProcess, connection: "Connection[Any, Any]", recorder: Recorder, stop: StopRequest) -> Ended:
    has_answered = False
    while connection in wait([connection, worker.sentinel]):
        try:
            message = connection.recv()
        except (EOFError, OSError):
            break
        if not has_answered:
            # By now it catches signals; one that came before was lost or has killed it.
            has_answered = True
            stop.pass_on()
        if isinstance(message, Ended):
            return message
        reply = recorder.handle(message)
        if reply is not None:
            with suppress(OSError):
                connection.send(reply)
    worker.join()
    if stop.signal is not None:
        return Ended(Status.PENDING)
    message = died(worker.exitcode or 0)
    return Ended(Status.FAILED, Failure(message, message))


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
