"""Finished trials that are scored by more suites, as the scheduler runs them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ablate.records.ledger import Ledger
from ablate.records.trial import Scores, TrialRecord
from ablate.scheduling.job import Job, Resources
from ablate.scheduling.source import IsTaken


@dataclass(frozen=True)
class ScoredTrial:
    """A finished trial to score.

    Attributes:
        suites: ids of the suites.
        freeze: writes its config with these suites.
        budget_tokens: nothing is trained.
    """

    trial_id: str
    label: str
    suites: tuple[str, ...]
    resources: Resources
    freeze: Callable[[], None]
    budget_tokens: int = 0


class ScoringSource:
    """Offers each trial whose scores are missing once; see `TrialSource`.

    Args:
        shown_metrics: names of the metrics that are printed when a trial ends.
    """

    noun = "evaluation"
    batch: int | None = None

    def __init__(self, ledger: Ledger, trials: Iterable[ScoredTrial], shown_metrics: Iterable[str]) -> None:
        self.ledger = ledger
        self._trials = {trial.trial_id: trial for trial in trials}
        self._shown_metrics = tuple(shown_metrics)
        self._open = {trial_id: trial for trial_id, trial in self._trials.items() if not self.is_scored(trial)}
        self.total = len(self._open)
        self._submitted: set[str] = set()
        self._tried: set[str] = set()

    def is_scored(self, trial: ScoredTrial) -> bool:
        """Whether a trial has all scores that it is to have."""
        return self.ledger.trial(trial.trial_id).record().is_scored(trial.suites)

    @property
    def shown(self) -> Mapping[str, ScoredTrial]:
        """See `TrialSource`."""
        return self._trials

    def next_job(self, is_taken: IsTaken) -> Job | None:
        """See `TrialSource`."""
        for trial_id, trial in list(self._open.items()):
            if trial_id in self._submitted or trial_id in self._tried:
                continue
            if self.is_scored(trial):
                del self._open[trial_id]
            elif not is_taken(trial_id):
                trial.freeze()
                self._submitted.add(trial_id)
                return Job(trial_id, self.ledger.runs_dir, resources=trial.resources)
        return None

    def is_done(self, job: Job, record: TrialRecord) -> bool:
        """See `TrialSource`."""
        return record.is_scored(self._trials[job.trial_id].suites)

    def job_ended(self, job: Job, *, may_retry: bool) -> None:
        """See `TrialSource`."""
        self._submitted.discard(job.trial_id)
        if self.is_scored(self._trials[job.trial_id]):
            self._open.pop(job.trial_id, None)
        elif not may_retry:
            self._tried.add(job.trial_id)

    def count_waiting(self, is_taken: IsTaken) -> int:
        """See `TrialSource`."""
        waiting = [trial for name, trial in self._open.items() if name not in self._tried or is_taken(name)]
        return sum(not self.is_scored(trial) for trial in waiting)

    def scores(self, record: TrialRecord) -> Scores | None:
        """See `TrialSource`."""
        suites = self._trials[record.trial_id].suites
        if not record.is_scored(suites):
            return None
        scores = record.scores(suites)
        return {name: scores[name] for name in self._shown_metrics if name in scores}

    def progress(self) -> str:
        """See `TrialSource`."""
        scored = sum(self.is_scored(trial) for trial in self._trials.values())
        return f"{scored} of {len(self._trials)} trials are scored"
