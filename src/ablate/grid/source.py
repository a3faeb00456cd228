"""The missing trials of a grid, as the scheduler runs them."""

from collections.abc import Mapping

from ablate.grid.cell import Cell
from ablate.grid.grid import Grid
from ablate.records.ledger import Ledger
from ablate.records.trial import Scores, TrialRecord
from ablate.scheduling.job import Job, Resources
from ablate.scheduling.reconcile import is_done
from ablate.scheduling.source import IsTaken


class GridSource:
    """Offers each missing trial of a grid once; see `TrialSource`.

    Args:
        missing: the trials to run, by id.
    """

    noun = "grid"
    batch: int | None = None

    def __init__(self, grid: Grid, missing: Mapping[str, Cell]) -> None:
        self._grid = grid
        self.shown = missing
        self.total = len(missing)
        self._open = dict.fromkeys(missing)
        self._submitted: set[str] = set()
        self._tried: set[str] = set()

    @property
    def ledger(self) -> Ledger:
        """See `TrialSource`."""
        return self._grid.ledger

    def next_job(self, is_taken: IsTaken) -> Job | None:
        """See `TrialSource`."""
        for trial_id in list(self._open):
            if trial_id in self._submitted or trial_id in self._tried:
                continue
            if self._grid.is_done(trial_id):
                del self._open[trial_id]
            elif not is_taken(trial_id):
                # Again, because another grid may have frozen it with other suites.
                self._grid.freeze_trials([trial_id])
                self._submitted.add(trial_id)
                resources = Resources.of(self._grid.trials[trial_id].trial.hardware)
                return Job(trial_id, self.ledger.runs_dir, resources=resources)
        return None

    def is_done(self, job: Job, record: TrialRecord) -> bool:
        """See `TrialSource`."""
        return is_done(record, self._grid.suites.values())

    def job_ended(self, job: Job, *, may_retry: bool) -> None:
        """See `TrialSource`."""
        self._submitted.discard(job.trial_id)
        if self._grid.is_done(job.trial_id):
            self._open.pop(job.trial_id, None)
        elif not may_retry:
            self._tried.add(job.trial_id)

    def count_waiting(self, is_taken: IsTaken) -> int:
        """See `TrialSource`."""
        # A trial that failed here and that another command has resumed is waited for, and not tried again.
        waiting = [trial_id for trial_id in self._open if trial_id not in self._tried or is_taken(trial_id)]
        return sum(not self._grid.is_done(trial_id) for trial_id in waiting)

    def scores(self, record: TrialRecord) -> Scores | None:
        """See `TrialSource`."""
        return self._grid.scores(record)

    def progress(self) -> str:
        """See `TrialSource`."""
        finished = sum(self._grid.is_done(trial_id) for trial_id in self._grid.trials)
        return f"{finished} of {len(self._grid.trials)} trials are finished"
