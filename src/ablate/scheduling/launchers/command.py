"""Handles of jobs that belong to a command: as long as it lives, they may start."""

import itertools
import os
from collections.abc import Sequence

from ablate.errors import UsageError
from ablate.records.process import birth, is_running, this_host
from ablate.scheduling.job import Job
from ablate.scheduling.launcher import Handle, JobState, Phase


class CommandHandles:
    """Names the jobs of this command.

    Args:
        launcher: the launcher's name.
    """

    def __init__(self, launcher: str) -> None:
        self._launcher = launcher
        self._numbers = itertools.count(1)
        self._reserved: dict[Job, Handle] = {}

    def reserve(self, job: Job) -> Handle:
        """Return the handle that the job will be submitted under."""
        if job not in self._reserved:
            job_id = f"{next(self._numbers)} of {os.getpid()} {birth(os.getpid())} on {this_host()}"
            self._reserved[job] = Handle(self._launcher, job_id)
        return self._reserved[job]

    def take(self, job: Job) -> Handle:
        """Return the reserved handle; the same job gets another one next time."""
        handle = self.reserve(job)
        del self._reserved[job]
        return handle


def cannot_cancel(job_ids: Sequence[str]) -> UsageError:
    """Return what to say to somebody who would cancel jobs of another command."""
    commands = sorted({job_id.partition(" of ")[2].split()[0] for job_id in job_ids})
    hosts = sorted({job_id.partition(" on ")[2].split()[0] for job_id in job_ids})
    return UsageError(
        f"{len(job_ids)} trials run in the command with the process {', '.join(commands)} on {', '.join(hosts)}. "
        f"End it there: kill {' '.join(commands)}. Its trials save first."
    )


def state_elsewhere(job_id: str) -> JobState:
    """Return the state of another command's job: pending while that command lives."""
    number_and_process, _, host = job_id.partition(" on ")
    if host != this_host():
        return JobState(Phase.UNKNOWN, detail="on another host")
    *_, pid, born = number_and_process.split()
    lives = is_running(int(pid), None if born == "None" else born)
    return JobState(Phase.PENDING) if lives else JobState(Phase.ENDED, code=1, detail="its command died")
