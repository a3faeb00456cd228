"""Runs a source of trials on a launcher: submits when there is room, polls, reconciles, and ends on an interrupt."""

import contextlib
import time
from collections.abc import Mapping

from rich.console import Console

from ablate.console import counted
from ablate.errors import LedgerError
from ablate.records.lease import LockedError
from ablate.records.ledger import Ledger
from ablate.records.trial import Status, Submission, TrialRecord
from ablate.scheduling.job import Job
from ablate.scheduling.launcher import Handle, JobState, Launcher, Phase
from ablate.scheduling.launchers import submission_state
from ablate.scheduling.processes import Interrupts
from ablate.scheduling.reconcile import (
    exit_text,
    has_advanced,
    reconcile,
    reconcile_submitted,
    was_finished,
    was_preempted,
)
from ablate.scheduling.source import IsTaken, TrialSource
from ablate.scheduling.watch import Watch

POLL_SECONDS = 0.5
# For a job that was asked to stop: the step that it is in, and the save after it.
PATIENCE_SECONDS = 600.0
# A job that its launcher does not know may be too new, or be another host's; it starts within this time, or never.
GRACE_SECONDS = 60.0


class Scheduler:
    """Submits the trials of a source to a launcher until none is left.

    Each trial is tried at most once. Trials that other commands run are waited for, and taken over if those die.
    """

    def __init__(self, launcher: Launcher, console: Console) -> None:
        self._launcher = launcher
        self._console = console
        self._jobs: dict[Handle, Job] = {}
        # All jobs of this command, also those that have ended.
        self._launched: set[Handle] = set()
        self._lost: set[str] = set()
        self._interrupts = Interrupts()

    def run(self, source: TrialSource) -> None:
        """Return when every trial of the source is done or was tried.

        Raises:
            KeyboardInterrupt: a signal ended the command; its jobs have ended, too.
        """
        try:
            with self._interrupts.counted(), Watch(source, self._console).watching() as watch:
                try:
                    self._run(source, watch)
                except BaseException:
                    # After an error, too: nobody would follow the jobs.
                    self._end(source, watch)
                    raise
        except KeyboardInterrupt:
            self._console.print(
                f"\n[bold]Interrupted.[/] {source.progress()}{_saved(source)}. The same command continues with them."
            )
            raise

    def _run(self, source: TrialSource, watch: Watch) -> None:
        has_told_waiting = False

        def is_taken(trial_id: str) -> bool:
            return self._is_taken(source.ledger, trial_id)

        while True:
            self._submit(source, is_taken)
            if not self._jobs:
                count = source.count_waiting(is_taken)
                if not count:
                    return
                if not has_told_waiting:
                    has_told_waiting = True
                    watch.say(f"Waiting for {counted(count, 'trial')} that other processes run …")
            states = self._launcher.poll(self._jobs, POLL_SECONDS)
            self._check_interrupts()
            for handle, state in states.items():
                if state.is_over:
                    self._job_ended(source, handle, state)

    def _submit(self, source: TrialSource, is_taken: IsTaken) -> None:
        """Submit jobs while there is room: one by one, or as a batch if the launcher takes any number."""
        most = self._launcher.parallel or source.batch
        batch: dict[Handle, Job] = {}
        try:
            while most is None or len(self._jobs) + len(batch) < most:
                self._check_interrupts()
                job = source.next_job(is_taken)
                if job is None:
                    break
                handle = self._launcher.handle_for(job)
                if not self._mark_submitted(source, job, handle):
                    source.job_ended(job, may_retry=True)
                    continue
                batch[handle] = job
                if self._launcher.parallel is not None:
                    self._launch(batch)
                    batch = {}
            if batch:
                self._launch(batch)
        except BaseException:
            # Those of them that have not started are pending again.
            _release({handle: job for handle, job in batch.items() if handle not in self._jobs}, source.ledger)
            raise

    def _launch(self, batch: Mapping[Handle, Job]) -> None:
        # Before the call: an interrupt in it must find them.
        self._jobs |= batch
        self._launched |= batch.keys()
        try:
            self._launcher.submit(list(batch.values()))
        except Exception:
            # The launcher does not know them.
            self._jobs = {handle: job for handle, job in self._jobs.items() if handle not in batch}
            raise

    def _mark_submitted(self, source: TrialSource, job: Job, handle: Handle) -> bool:
        """Record that the trial is submitted, before its job can start; False if there is nothing to submit."""
        folder = source.ledger.trial(job.trial_id)
        try:
            with folder.lease:
                record = folder.record()
                if source.is_done(job, record) or self._is_submitted_elsewhere(record):
                    return False
                folder.update(
                    status=Status.SUBMITTED,
                    submission=Submission(handle.launcher, handle.job_id, time.time()),
                    is_scoring=was_finished(record),
                    failure=None,
                )
                return True
        except LockedError:
            return False

    def _is_taken(self, ledger: Ledger, trial_id: str) -> bool:
        folder = ledger.trial(trial_id)
        return folder.is_locked or self._is_submitted_elsewhere(folder.record())

    def _is_submitted_elsewhere(self, record: TrialRecord) -> bool:
        submission = record.submission
        if record.status != Status.SUBMITTED or submission is None:
            return False
        handle = Handle(submission.launcher, submission.job_id)
        if handle in self._launched:
            return handle in self._jobs
        state = submission_state(submission)
        if state.phase == Phase.UNKNOWN:
            return time.time() - submission.submitted_at < GRACE_SECONDS
        return not state.is_over

    def _job_ended(self, source: TrialSource, handle: Handle, state: JobState) -> None:
        job = self._jobs.pop(handle)
        folder = source.ledger.trial(job.trial_id)
        is_failure = state.phase == Phase.ENDED and state.code != 0
        reconcile(folder, is_interrupted=state.phase == Phase.PREEMPTED, code=state.code)
        reconcile_submitted(folder, handle.job_id, exit_text(state.code, state.detail) if is_failure else None)
        was_stopped = is_failure and was_preempted(folder.record())
        may_retry = not is_failure or was_stopped
        if state.phase == Phase.UNKNOWN or (was_stopped and not has_advanced(folder)):
            # Once: otherwise jobs that are lost or stopped at once each time would be submitted forever.
            may_retry = job.trial_id not in self._lost
            self._lost.add(job.trial_id)
        source.job_ended(job, may_retry=may_retry)

    def _check_interrupts(self) -> None:
        if self._interrupts.count:
            raise KeyboardInterrupt

    def _end(self, source: TrialSource, watch: Watch) -> None:
        """Ask the jobs to stop and wait; one more interrupt, or the end of patience, ends them at once."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        for handle in self._jobs:
            self._launcher.cancel(handle)
        if self._jobs:
            # Whoever read this may be gone with the terminal.
            with contextlib.suppress(OSError):
                watch.say("Ending. Running trials save at their next step; once more ends them at once.")
        running = set(self._jobs)
        while running and self._interrupts.count < 2 and time.monotonic() < deadline:
            states = self._launcher.poll(running, POLL_SECONDS)
            running = {handle for handle in running if not states[handle].is_over}
        for handle in running:
            self._launcher.cancel(handle)
        _release(self._jobs, source.ledger)


def _saved(source: TrialSource) -> str:
    """Return how many trials wait with a checkpoint, as the end of a sentence."""
    folders = [source.ledger.trial(trial_id) for trial_id in source.shown]
    with contextlib.suppress(OSError, LedgerError):
        steps = [f.checkpoints.newest_step for f in folders if f.record().status in (Status.PENDING, Status.SUBMITTED)]
        if saved := sum(step is not None for step in steps):
            return (
                f", {saved} saved part-way, {len(steps) - saved} not started"
                if saved < len(steps)
                else (f", {saved} saved part-way")
            )
    return ""


def _release(jobs: Mapping[Handle, Job], ledger: Ledger) -> None:
    """Record that jobs are gone and their trials pending, wherever the record can be read and written."""
    for handle, job in jobs.items():
        folder = ledger.trial(job.trial_id)
        with contextlib.suppress(OSError, LedgerError):
            reconcile(folder, is_interrupted=True)
            reconcile_submitted(folder, handle.job_id, reason=None)
