"""The interface of what the scheduler runs: all cells of a grid, or what studies ask for next."""

from collections.abc import Callable, Mapping
from typing import Protocol

from ablate.records.ledger import Ledger
from ablate.records.trial import Scores, TrialRecord
from ablate.scheduling.job import Job

IsTaken = Callable[[str], bool]


class Shown(Protocol):
    """A trial as the live display shows it."""

    @property
    def label(self) -> str:
        """The trial's name for people."""

    @property
    def budget_tokens(self) -> int:
        """How many tokens the trial is to be trained on."""


class TrialSource(Protocol):
    """Trials to run.

    Attributes:
        noun: what the trials are together.
        total: how many trials there are to be.
        batch: how many jobs are submitted together to a launcher without a limit; None for all.
    """

    noun: str
    total: int
    batch: int | None

    @property
    def ledger(self) -> Ledger:
        """Where the trials are."""

    @property
    def shown(self) -> Mapping[str, Shown]:
        """The trials to show, by id; it may grow."""

    def next_job(self, is_taken: IsTaken) -> Job | None:
        """Freeze the next trial that can run now and return its job; None if there is none at the moment.

        Args:
            is_taken: whether another process runs a trial, or another command has submitted it.
        """

    def is_done(self, job: Job, record: TrialRecord) -> bool:
        """Whether nothing is left to do for a job."""

    def job_ended(self, job: Job, *, may_retry: bool) -> None:
        """Note the end of a job, whose trial's record is up to date.

        Args:
            may_retry: whether the job did not use up its try: another process had the trial, or it was preempted.
        """

    def count_waiting(self, is_taken: IsTaken) -> int:
        """Return how many trials are neither done nor given up."""

    def scores(self, record: TrialRecord) -> Scores | None:
        """Return what to show of a trial that ended; None if it has no scores."""

    def progress(self) -> str:
        """Return how much is done, as the start of a sentence."""
