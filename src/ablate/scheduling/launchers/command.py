"""What launchers share whose jobs belong to the command: as long as it lives, they may start, and they end with it."""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

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


class CommandLauncher:
    """A launcher whose jobs end with the command; the base of those in this package."""

    name: str
    outlives_command = False

    def __init__(self) -> None:
        self._handles = CommandHandles(self.name)

    def preview(self, jobs: Sequence[Job]) -> str:
        """Return "": there is no script."""
        return ""

    def handle_for(self, job: Job) -> Handle:
        """See `Launcher`."""
        return self._handles.reserve(job)

    @staticmethod
    def state_elsewhere(job_id: str, runs_dir: Path) -> JobState:
        """See `Launcher`."""
        return state_elsewhere(job_id)

    @staticmethod
    def cancel_elsewhere(job_ids: Sequence[str], runs_dir: Path, *, at_once: bool) -> None:
        """Raise UsageError: only the command itself can end its jobs."""
        commands = sorted({job_id.partition(" of ")[2].split()[0] for job_id in job_ids})
        hosts = sorted({job_id.partition(" on ")[2].split()[0] for job_id in job_ids})
        raise UsageError(
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
