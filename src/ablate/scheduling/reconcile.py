"""What a trial's record says once its process or its job is gone."""

import contextlib
import signal
from collections.abc import Iterable
from dataclasses import replace

from ablate.files import full_disk
from ablate.records.lease import LockedError
from ablate.records.ledger import TrialFolder
from ablate.records.trial import Failure, Status, Submission, TrialRecord
from ablate.scheduling.launcher import Phase
from ablate.scheduling.launchers import restarts_jobs, submission_state

DIED = "process exited without reporting an error (killed, or out of memory?)"


def died(code: int) -> str:
    """Return what to say of a process that exited with this code and reported no error.

    >>> died(-9)
    'process exited without reporting an error (killed by SIGKILL, or out of memory?)'
    """
    return DIED if code >= 0 else DIED.replace("killed", f"killed by {signal.Signals(-code).name}")


def death_of(folder: TrialFolder, code: int) -> str:
    """Return what to say of a trial whose process reported no error: that the disk is full, or how it died."""
    full = full_disk(folder.path.parent)
    return died(code) if full is None else f"{full} with runs_dir=…; the same command goes on."


def was_finished(record: TrialRecord) -> bool:
    """Whether the trial has been scored before, so that it stays finished whatever happens to another scoring."""
    return record.status == Status.FINISHED or (
        record.is_scoring and record.status in (Status.SUBMITTED, Status.RUNNING)
    )


def was_preempted(record: TrialRecord) -> bool:
    """Whether a signal to its job ended the newest attempt, so the trial is pending again and did not fail."""
    return record.failure is None and bool(record.attempts) and record.attempts[-1].ended == Status.PENDING


def has_advanced(folder: TrialFolder, attempts: int = 1) -> bool:
    """Whether the newest attempts have left the trial at a later step than the first of them resumed from.

    Args:
        attempts: how many; with fewer, False.
    """
    newest, newest_step = folder.record().attempts[-attempts:], folder.checkpoints.newest_step
    from_step = newest[0].from_step if len(newest) == attempts else None
    return from_step is not None and (folder.is_trained or (newest_step or 0) > from_step)


def died_repeatedly(folder: TrialFolder, submission: Submission) -> bool:
    """Whether the two attempts before the newest died in this job, and the trial is where it was before them."""
    earlier = folder.record().attempts[-3:-1]
    in_job = [attempt.submission is not None and attempt.submission.job_id == submission.job_id for attempt in earlier]
    if len(earlier) < 2 or not all(in_job) or {attempt.ended for attempt in earlier} != {"died"}:
        return False
    return (earlier[0].from_step or 0) >= (folder.checkpoints.newest_step or 0) and not folder.is_trained


def may_restart(folder: TrialFolder) -> bool:
    """Whether a job that was stopped may start again by itself: not after two attempts that left it where it was."""
    return len(folder.record().attempts) < 2 or has_advanced(folder) or has_advanced(folder, attempts=2)


def is_done(record: TrialRecord, suites: Iterable[str]) -> bool:
    """Whether a grid has nothing left to do: the trial is finished by these suites, or it diverged and would again."""
    return (was_finished(record) and record.is_scored(suites)) or record.status == Status.DIVERGED


def is_validated(record: TrialRecord, validation_id: str) -> bool:
    """Whether a tuning has nothing left to do: the trial is scored on the validation split, or it diverged."""
    return validation_id in record.validation or record.status == Status.DIVERGED


def as_reconciled(folder: TrialFolder, record: TrialRecord) -> TrialRecord:
    """Return a trial's record as `reconcile` would leave it, and write nothing."""
    if record.status not in (Status.RUNNING, Status.SUBMITTED) or folder.is_locked:
        return record
    if record.status == Status.RUNNING:
        if (submission := restarting(folder, record)) is not None:
            return replace(record, status=Status.SUBMITTED, submission=submission)
        status = Status.FINISHED if record.is_scoring else Status.FAILED
        return replace(record, status=status, failure=Failure(DIED, DIED))
    return _without_job(record, None) if is_abandoned(folder, record) else record


def submission_of(record: TrialRecord) -> Submission | None:
    """Return the job that is to run the trial; also of one whose process died and whose launcher starts it again."""
    job = record.job
    return job if job is not None and (record.status == Status.SUBMITTED or restarts_jobs(job)) else None


def restarting(folder: TrialFolder, record: TrialRecord) -> Submission | None:
    """Return the job that will go on with a trial whose process died, if there is one."""
    submission = submission_of(record) if record.status == Status.RUNNING else None
    if submission is None:
        return None
    state = submission_state(submission, folder.path.parent)
    return None if state.is_over else submission


def is_abandoned(folder: TrialFolder, record: TrialRecord) -> bool:
    """Whether the trial is submitted and its job is over, as after the death of its command."""
    if record.status != Status.SUBMITTED or record.submission is None:
        return False
    state = submission_state(record.submission, folder.path.parent)
    return state.is_over and state.phase != Phase.UNKNOWN


def reconcile(folder: TrialFolder, *, is_interrupted: bool = False, code: int = 0) -> None:
    """Record the end of a running trial whose process died: pending after an interrupt, else failed.

    A trial that is submitted to a command that died is pending again.

    Args:
        code: the exit code of its process, if known.
    """
    record = folder.record()
    if record.submission is not None and is_abandoned(folder, record):
        reconcile_submitted(folder, record.submission.job_id, None)
        return
    if not _is_orphaned(record, is_interrupted=is_interrupted) or folder.holder is not None:
        return
    if restarting(folder, record) is not None:
        return
    # Under the lease, because another command may resume the trial at this moment.
    with contextlib.suppress(LockedError), folder.lease:
        record = folder.record()
        if not _is_orphaned(record, is_interrupted=is_interrupted):
            return
        status = Status.PENDING if is_interrupted else Status.FAILED
        reason = death_of(folder, code)
        failure = None if is_interrupted else Failure(reason, reason)
        ended = "interrupted" if is_interrupted else "died"
        folder.end_attempt(ended, status=Status.FINISHED if record.is_scoring else status, failure=failure)


def _is_orphaned(record: TrialRecord, *, is_interrupted: bool) -> bool:
    # An interrupt may have killed a trial before its command learned of the interrupt.
    has_died = record.status == Status.FAILED and bool(record.attempts) and record.attempts[-1].ended == "died"
    return record.status == Status.RUNNING or (is_interrupted and has_died)


def reconcile_submitted(folder: TrialFolder, job_id: str, reason: str | None) -> None:
    """Record that a job is gone before its trial began.

    Args:
        job_id: of the job; a trial that has been submitted once more stays as it is.
        reason: why that is a failure; None to submit the trial again.
    """
    if folder.record().status != Status.SUBMITTED:
        return
    with contextlib.suppress(LockedError), folder.lease:
        record = folder.record()
        if record.status != Status.SUBMITTED or record.submission is None or record.submission.job_id != job_id:
            return
        folder.write(_without_job(record, reason))


def _without_job(record: TrialRecord, reason: str | None) -> TrialRecord:
    status = Status.PENDING if reason is None else Status.FAILED
    message = f"process ended before the trial began ({reason})"
    return replace(
        record,
        status=Status.FINISHED if record.is_scoring else status,
        submission=None,
        failure=None if reason is None else Failure(message, message),
    )
