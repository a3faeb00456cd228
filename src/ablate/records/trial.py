"""The record of a trial."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ablate.records.provenance import Provenance
from ablate.records.schema import Extensible
from ablate.records.tuning import CandidateRef


class Status(StrEnum):
    """The state of a trial."""

    PENDING = "pending"
    SUBMITTED = "submitted"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    DIVERGED = "diverged"
    PRUNED = "pruned"


@dataclass(frozen=True)
class ValidationSeries:
    """What the validation rows of a log hold: which scores, and how many evaluations over the whole budget."""

    validation_id: str
    evaluations: int


@dataclass(frozen=True)
class Submission:
    """The job that a launcher has for a trial: with both names, another command can ask about it."""

    launcher: str
    job_id: str
    submitted_at: float


@dataclass(frozen=True, kw_only=True)
class Attempt(Extensible):
    """One process that worked on a trial.

    Attributes:
        submission: the job that the process ran as.
        ranks: how many processes trained it together, each on a device of its own.
        strategy: `single`, `ddp` or `fsdp`; None if it did not train.
        activity: what its worker was doing last.
        from_step: the step of the checkpoint it resumed; None if it did not train.
        validation: of the rows that it logged; None if it did not train.
        ended: a status, or `died` or `interrupted`; None while it runs.
    """

    started_at: float
    host: str
    pid: int
    threads: int | None = None
    ranks: int = 1
    strategy: str | None = None
    submission: Submission | None = None
    activity: str | None = None
    from_step: int | None = None
    validation: ValidationSeries | None = None
    ended: str | None = None
    ended_at: float | None = None


@dataclass(frozen=True)
class Failure:
    """Why an attempt ended without a result.

    Attributes:
        evidence: what the error recorded, as the last losses of a diverged trial.
    """

    message: str
    traceback: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Counts:
    """Sums over all steps and ranks; see `docs/architecture.md`, Accounting.

    Attributes:
        windows: the chained digest of the windows read.
    """

    steps: int = 0
    train_tokens: int = 0
    input_tokens: int = 0
    loss_tokens: int = 0
    truncated_tokens: int = 0
    flops: float = 0.0
    windows: str = ""


@dataclass(frozen=True)
class SourceReading:
    """The fraction of the rows that came from a source, and how often its documents were read."""

    fraction: float
    epochs: float


@dataclass(frozen=True)
class TrainResult:
    """What a training run measured, scores aside.

    Attributes:
        speed: means over the whole training: train tokens per second, in all and per device, and MFU where the
            device's peak rate is known. After a resume on other devices, per device means the last ones.
    """

    counters: Counts
    training_seconds: float
    parameters: int
    data_fingerprint: str
    reading: Mapping[str, SourceReading] = field(default_factory=dict)
    speed: Mapping[str, float] = field(default_factory=dict)


Scores = Mapping[str, float]


@dataclass(frozen=True)
class TrialRecord(Extensible):
    """What the ledger knows of a trial.

    Attributes:
        options: what its first grid swept, and its seed.
        choices: of each config group.
        first_grid: the grid or tuning that froze it.
        semantic: the canonical form of its config that its id is made of.
        evaluations: scores on the test split, by suite id.
        conditions: by suite id, what the scores were taken under, such as the sandbox that ran programs.
        validation: scores on the validation split at the end of the training, by `validation_id`.
        submission: the job that is to run the trial; None unless the status is `submitted`.
        is_scoring: whether the submission or the newest attempt scores a trial that was finished before.
        pruned_by: the candidate that was pruned.
    """

    trial_id: str
    status: Status = Status.PENDING
    options: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    first_grid: str | None = None
    semantic: Mapping[str, Any] = field(default_factory=dict)
    submission: Submission | None = None
    attempts: tuple[Attempt, ...] = ()
    failure: Failure | None = None
    result: TrainResult | None = None
    evaluations: Mapping[str, Scores] = field(default_factory=dict)
    conditions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    validation: Mapping[str, Scores] = field(default_factory=dict)
    provenance: Provenance | None = None
    is_scoring: bool = False
    pruned_by: CandidateRef | None = None
    started_at: float | None = None
    finished_at: float | None = None
    updated_at: float | None = None

    @property
    def job(self) -> Submission | None:
        """The job that is to run the trial or runs it; None for other states."""
        if self.status == Status.RUNNING:
            return self.attempts[-1].submission if self.attempts else None
        return self.submission if self.status == Status.SUBMITTED else None

    @property
    def has_outcome(self) -> bool:
        """Whether anybody can know how the trial ended: any suite has scored it, or it diverged."""
        return bool(self.evaluations) or self.status == Status.DIVERGED

    def is_scored(self, suites: Iterable[str]) -> bool:
        """Whether it has the scores of all these suites, given by their ids."""
        return self.evaluations.keys() >= set(suites)

    def scores(self, suites: Iterable[str]) -> Scores:
        """The metrics that it has of these suites."""
        return {name: value for suite in suites for name, value in self.evaluations.get(suite, {}).items()}
