"""Runs a source of trials on a launcher: submits when there is room, polls, reconciles, and ends on an interrupt."""

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping

from rich.console import Console

from ablate.console import counted
from ablate.errors import LedgerError
from ablate.records.lease import LockedError
from ablate.records.ledger import Ledger
from ablate.records.trial import Status, Submission, TrialRecord
from ablate.scheduling.job import Job
from ablate.scheduling.launcher import Handle, JobState, Launcher, Phase, exit_text
from ablate.scheduling.launchers import submission_state
from ablate.scheduling.processes import Interrupts
from ablate.scheduling.reconcile import (
    has_advanced,
    reconcile,
    reconcile_submitted,
    submission_of,
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
# How often a job may be preempted without an advance of its trial.
MOST_STOPS = 3


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
        self._stops: Counter[str] = Counter()
        self._interrupts = Interrupts()

    def run(self, source: TrialSource) -> None:
        """Return when every trial of the source is done or was tried.

        Raises:
            KeyboardInterrupt: a signal ended the command. Its jobs have ended, too, unless they outlive it.
        """
        try:
            with self._interrupts.counted(), Watch(source, self._console).watching() as watch:
                try:
                    self._run(source, watch)
                except BaseException:
                    # After an error, too: nobody would follow the jobs.
                    if not self._launcher.outlives_command:
                        self._end(source, watch.say)
                    raise
        except KeyboardInterrupt:
            left = self._jobs if self._launcher.outlives_command else {}
            if left and self._is_to_cancel():
                with self._interrupts.counted():
                    self._interrupts.count = 0
                    self._end(source, self._console.print)
                left = {}
            self._console.print(
                f"\n[bold]Interrupted.[/] {source.progress()}{_saved(source)}. The same command continues with them."
                + (f" {_stay(self._launcher, len(left))}" if left else "")
            )
            raise

    def detach(self, source: TrialSource) -> str:
        """Submit what there is room for and return at once, with what to say of it."""
        with self._interrupts.counted():
            self._submit(source, lambda trial_id: self._is_taken(source.ledger, trial_id))
        count = len(self._jobs)
        waiting = source.count_waiting(lambda trial_id: False) - count
        others = (
            f" {counted(waiting, 'trial')} of the grid are run by other commands or wait for room." if waiting else ""
        )
        return f"{_stay(self._launcher, count)}{others}"

    def _is_to_cancel(self) -> bool:
        """Ask the person at the terminal, if there is one, whether the jobs are to end, too."""
        if not (self._console.is_terminal and sys.stdin.isatty()):
            return False
        try:
            answer = input(f"Cancel the {counted(len(self._jobs), 'job')} of this command? [y/N] ")
        except (EOFError, KeyboardInterrupt):
            return False
        return answer.strip().lower() in ("y", "yes")

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
                if not self._launcher.takes_batches:
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
                if source.is_done(job, record) or self._is_submitted_elsewhere(source.ledger, record):
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
        return folder.is_locked or self._is_submitted_elsewhere(ledger, folder.record())

    def _is_submitted_elsewhere(self, ledger: Ledger, record: TrialRecord) -> bool:
        submission = submission_of(record)
        if submission is None:
            return False
        handle = Handle(submission.launcher, submission.job_id)
        if handle in self._launched:
            return handle in self._jobs
        state = submission_state(submission, ledger.runs_dir)
        if state.phase == Phase.UNKNOWN:
            return time.time() - submission.submitted_at < GRACE_SECONDS
        return not state.is_over

    def _job_ended(self, source: TrialSource, handle: Handle, state: JobState) -> None:
        job = self._jobs.pop(handle)
        folder = source.ledger.trial(job.trial_id)
        is_failure = state.phase == Phase.ENDED and state.code != 0
        has_begun = _has_begun(folder.record(), handle)
        # Stopped in a job that was to start again and did not, a trial is still submitted.
        has_failed = is_failure and not (has_begun and was_preempted(folder.record()))
        reconcile_submitted(folder, handle.job_id, exit_text(state.code, state.detail) if has_failed else None)
        is_interrupted = state.phase in (Phase.PREEMPTED, Phase.CANCELLED)
        reconcile(folder, is_interrupted=is_interrupted, code=state.code)
        was_stopped = is_failure and was_preempted(folder.record())
        may_retry = (not is_failure or was_stopped) and state.phase != Phase.CANCELLED
        is_lost = state.phase == Phase.UNKNOWN
        if is_lost or ((was_stopped or state.phase == Phase.PREEMPTED) and not (has_begun and has_advanced(folder))):
            # Otherwise jobs that are lost or stopped at once each time would be submitted forever.
            self._stops[job.trial_id] += 1
            most = MOST_STOPS if state.phase == Phase.PREEMPTED else 1
            may_retry = may_retry and self._stops[job.trial_id] <= most
        source.job_ended(job, may_retry=may_retry)

    def _check_interrupts(self) -> None:
        if self._interrupts.count:
            raise KeyboardInterrupt

    def _end(self, source: TrialSource, say: Callable[[str], None]) -> None:
        """Ask the jobs to stop and wait; one more interrupt, or the end of patience, ends them at once."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        if self._jobs:
            self._launcher.cancel(self._jobs)
            # Whoever read this may be gone with the terminal.
            with contextlib.suppress(OSError):
                say("Ending. Running trials save at their next step; once more ends them at once.")
        running = set(self._jobs)
        while running and self._interrupts.count < 2 and time.monotonic() < deadline:
            states = self._launcher.poll(running, POLL_SECONDS)
            running = {handle for handle in running if not states[handle].is_over}
        if running:
            self._launcher.cancel(running)
        _release(self._jobs, source.ledger)


def _has_begun(record: TrialRecord, handle: Handle) -> bool:
    """Whether the newest attempt ran as this job."""
    submission = record.attempts[-1].submission if record.attempts else None
    return submission is not None and submission.job_id == handle.job_id


def _stay(launcher: Launcher, count: int) -> str:
    return (
        f"{launcher.name} has {counted(count, 'job')} of this command: `python -m ablate status` shows them, and "
        "`python -m ablate cancel` ends them."
    )


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
