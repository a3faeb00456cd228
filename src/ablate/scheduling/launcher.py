"""The interface of launchers: what starts jobs, knows their state, and ends them."""

import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from ablate.scheduling.job import Job


class Phase(StrEnum):
    """Where a job is, as its launcher knows it."""

    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class JobState:
    """The state of a job.

    Attributes:
        code: the exit code of a job that has ended; the negative signal number when a signal ended it.
        detail: more for people, such as a cluster's reason for a pending job.
        number: the cluster's own number of the job, as its commands take it; "" without a cluster.
        nodes: where it runs, as the cluster writes it.
    """

    phase: Phase
    code: int = 0
    detail: str = ""
    number: str = ""
    nodes: str = ""

    @property
    def is_over(self) -> bool:
        """Whether the job runs no more and will not start again by itself."""
        return self.phase not in (Phase.PENDING, Phase.RUNNING)


@dataclass(frozen=True)
class Handle:
    """A submitted job.

    Attributes:
        launcher: the launcher's name; with `job_id` it identifies a job for other commands.
        job_id: the launcher's own id, such as a process or a place in a batch of a cluster's jobs.
    """

    launcher: str
    job_id: str


def exit_text(code: int, detail: str = "") -> str:
    """Return how a process ended, in a few words."""
    return detail or (signal.Signals(-code).name if code < 0 else f"exit code {code}")


class Launcher(Protocol):
    """Runs jobs in processes of its own choice.

    Attributes:
        name: recorded with each submitted job.
        parallel: how many jobs may be pending or running at once; None for no limit.
        takes_batches: whether many jobs are better submitted in one call than one by one.
        outlives_command: whether its jobs go on without the command that submitted them, and start again by
            themselves when they were preempted.
    """

    name: str
    parallel: int | None
    takes_batches: bool
    outlives_command: bool

    def check(self) -> None:
        """Raise UserError where jobs cannot be submitted from here, before anything is prepared."""

    def preview(self, jobs: Sequence[Job]) -> str:
        """Return what `submit` would hand to a cluster, such as scripts; "" where there is nothing to read."""

    def handle_for(self, job: Job) -> Handle:
        """Return the handle that a job will have: the ledger has it before the job can start."""

    def submit(self, jobs: Sequence[Job]) -> list[Handle]:
        """Submit jobs and return their handles in the same order, without waiting for the jobs to end.

        Raises:
            UserError: the jobs were rejected; none of them will run.
        """

    def poll(self, handles: Iterable[Handle], wait_seconds: float = 0.0) -> dict[Handle, JobState]:
        """Return the state of each of these jobs, which this launcher submitted.

        Args:
            wait_seconds: wait up to so long for a job to end.
        """

    def cancel(self, handles: Iterable[Handle]) -> None:
        """Ask jobs to save and end. A second call ends them at once."""

    @staticmethod
    def state_elsewhere(job_id: str, runs_dir: Path) -> JobState:
        """Return the state of a job of this ledger that another command submitted to a launcher of this kind."""

    @staticmethod
    def cancel_elsewhere(job_ids: Sequence[str], runs_dir: Path, *, at_once: bool) -> None:
        """Ask jobs that another command submitted to save and end, or end them at once. Raises UserError."""
