"""A made-up source of trials for the scheduler."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ablate.records.ledger import Ledger
from ablate.records.trial import Status, TrialRecord
from ablate.scheduling.job import Job
from ablate.scheduling.source import IsTaken, Shown


@dataclass(frozen=True)
class Entry:
    label: str
    budget_tokens: int = 1


@dataclass
class Source:
    """Trials a, b, c …, each done when its record says so."""

    ledger: Ledger
    trials: Sequence[str]
    noun: str = "grid"
    batch: int | None = None
    tried: list[str] = field(default_factory=list)
    submitted: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.total = len(self.trials)
        self.shown: Mapping[str, Shown] = {trial: Entry(trial) for trial in self.trials}

    def _is_finished(self, trial: str) -> bool:
        return self.ledger.trial(trial).status == Status.FINISHED

    def next_job(self, is_taken: IsTaken) -> Job | None:
        for trial in self.trials:
            if {trial} & {*self.tried, *self.submitted} or self._is_finished(trial) or is_taken(trial):
                continue
            self.submitted.add(trial)
            return Job(trial, self.ledger.runs_dir)
        return None

    def is_done(self, job: Job, record: TrialRecord) -> bool:
        return record.status == Status.FINISHED

    def job_ended(self, job: Job, *, may_retry: bool) -> None:
        self.submitted.remove(job.trial_id)
        if not may_retry:
            self.tried.append(job.trial_id)

    def count_waiting(self, is_taken: IsTaken) -> int:
        return sum(
            not self._is_finished(trial) and (trial not in self.tried or is_taken(trial)) for trial in self.trials
        )

    def scores(self, record: TrialRecord) -> dict[str, float] | None:
        return {} if record.status == Status.FINISHED else None

    def progress(self) -> str:
        return f"{sum(map(self._is_finished, self.trials))} of {self.total} trials are finished"
