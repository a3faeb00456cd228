"""The interface of launchers: what starts jobs, knows their state, and ends them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from ablate.scheduling.job import Job


class Phase(StrEnum):
    """Where a job is, as its launcher knows it."""

    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"
    PREEMPTED = "preempted"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class JobState:
    """The state of a job.

    Attributes:
        code: the exit code of a job that has ended; the negative signal number when a signal ended it.
        detail: more for people, such as a cluster's reason for a pending job.
    """

    phase: Phase
    code: int = 0
    detail: str = ""

    @property
    def is_over(self) -> bool:
        """Whether the job runs no more and will not start again by itself."""
        return self.phase not in (Phase.PENDING, Phase.RUNNING)


@dataclass(frozen=True)
class Handle:
    """A submitted job.

    Attributes:
        launcher: the launcher's name; with `job_id` it identifies a job for other commands.
        job_id: the launcher's own id, such as a process or a Slurm job number.
    """

    launcher: str
    job_id: str


class Launcher(Protocol):
    """Runs jobs in processes of its own choice.

    Attributes:
        name: recorded with each submitted job.
        parallel: how many jobs may be pending or running at once; None for no limit.
    """

    name: str
    parallel: int | None

    def handle_for(self, job: Job) -> Handle:
        """Return the handle that a job will have: the ledger has it before the job can start."""

    def submit(self, jobs: Sequence[Job]) -> list[Handle]:
        """Submit jobs and return their handles in the same order, without waiting for the jobs to end."""

    def poll(self, handles: Iterable[Handle], wait_seconds: float = 0.0) -> dict[Handle, JobState]:
        """Return the state of each of these jobs, which this launcher submitted.

        Args:
            wait_seconds: wait up to so long for a job to end.
        """

    def cancel(self, handle: Handle) -> None:
        """Ask a job to save and end. A second call ends it at once."""

    @staticmethod
    def state_elsewhere(job_id: str) -> JobState:
        """Return the state of a job that another command submitted to a launcher of this kind."""
