"""Jobs that a command submits to a cluster together, and their folder in the ledger.

runs/jobs/<batch>/
  jobs.json         the trial of each number, written before a job can start
  script.sh         what the cluster runs
  submitted         the cluster's number of the batch, once the cluster has it
  <number>.log      output of the script for one job; the ranks write into the trial's folder
  <number>.exit     its exit code
  <number>.cancelled  somebody has asked this job to end, so it must not start again
  lease.<n>         while a command submits the batch
"""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ablate.errors import LedgerError
from ablate.files import write_text
from ablate.records.lease import Lease, live_holder
from ablate.records.schema import read, write
from ablate.records.trial import Submission
from ablate.records.tuning import CandidateRef
from ablate.scheduling.job import Job
from ablate.scheduling.launchers import restarts_jobs

# Of a rank that a signal stopped, when the trial can go on in the same job.
STOPPED_EXIT_CODE = 85


@dataclass(frozen=True)
class BatchJob:
    """One job of a batch, as `jobs.json` has it."""

    trial_id: str
    job_id: str
    candidate: CandidateRef | None = None


@dataclass(frozen=True)
class BatchRecord:
    """The content of `jobs.json`."""

    launcher: str
    jobs: Mapping[str, BatchJob] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """The folder of one batch."""

    folder: Path

    @classmethod
    def new(cls, runs_dir: Path) -> "Batch":
        """Return a batch with a name that no other has."""
        return cls.named(uuid.uuid4().hex[:12], runs_dir)

    @classmethod
    def named(cls, name: str, runs_dir: Path) -> "Batch":
        """Return the batch with this name."""
        return cls(runs_dir / "jobs" / name)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def script_path(self) -> Path:
        """What the cluster runs."""
        return self.folder / "script.sh"

    @property
    def lease(self) -> Lease:
        """A lease that a command holds while it submits the batch. Nobody takes it over."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return Lease(self.folder, on_lost=lambda: None)

    @property
    def is_being_submitted(self) -> bool:
        """Whether a living command is about to hand the batch to the cluster."""
        return not self.was_submitted and live_holder(self.folder, watch_seconds=0) is not None

    @property
    def was_submitted(self) -> bool:
        """Whether the cluster has taken the batch."""
        return (self.folder / "submitted").exists()

    def log_path(self, number: int) -> Path:
        """The output of the script for one job."""
        return self.folder / f"{number}.log"

    def write_jobs(self, launcher: str, jobs: Mapping[int, tuple[str, Job]]) -> None:
        """Write `jobs.json`.

        Args:
            jobs: number → the launcher's id of the job, and the job.
        """
        entries = {str(number): BatchJob(job.trial_id, job_id, job.candidate) for number, (job_id, job) in jobs.items()}
        write(self.folder / "jobs.json", BatchRecord(launcher, entries))

    def mark_submitted(self, number: str) -> None:
        """Note the cluster's number of the batch."""
        write_text(self.folder / "submitted", f"{number}\n")

    def job(self, number: int) -> Job:
        """Return a job as the cluster runs it. Raises LedgerError where there is none."""
        path = self.folder / "jobs.json"
        try:
            record = read(path, BatchRecord)
            entry = record.jobs[str(number)]
        except (FileNotFoundError, KeyError):
            raise LedgerError(f"{path}: has no job {number}. Do all nodes share the folder runs_dir?") from None
        submission = Submission(record.launcher, entry.job_id, time.time())
        restarts_as = submission if restarts_jobs(submission) else None
        return Job(entry.trial_id, self.folder.parents[1], entry.candidate, restarts_as=restarts_as)

    def exit_code(self, number: int) -> int | None:
        """Return the exit code of a job's script, or the negative number of the signal that ended its ranks."""
        try:
            code = int((self.folder / f"{number}.exit").read_text())
        except (FileNotFoundError, ValueError):
            return None
        # As shells tell a signal.
        return 128 - code if code > 128 else code

    def has_begun(self, number: int) -> bool:
        """Whether the node of a job could write into this folder."""
        return self.log_path(number).exists()

    def mark_cancelled(self, number: int) -> None:
        """Keep a job from starting again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{number}.cancelled").touch()

    def is_cancelled(self, number: int) -> bool:
        """Whether somebody has asked this job to end."""
        return (self.folder / f"{number}.cancelled").exists()
