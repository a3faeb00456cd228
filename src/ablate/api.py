"""Ledgers, lessons and ladders from Python: `from ablate import Ledger, ladder, lesson`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ablate.errors import FailureError, UsageError
from ablate.grid.stale import stale_trials
from ablate.lessons.comparable import IncomparableError, check_comparable
from ablate.lessons.grid_results import GridResults
from ablate.lessons.ladder import Ladder
from ablate.lessons.lesson import Lesson
from ablate.records import ledger as records
from ablate.records.ledger_logs import LedgerLogs
from ablate.records.open_logs import open_logs
from ablate.records.trial import TrialRecord
from ablate.reports.wording import lesson_or_gap
from ablate.verbs.arguments import grid_named


class Ledger(records.Ledger):
    """A folder of trials, as pandas tables.

    Besides the tables it has everything of `ablate.records.ledger.Ledger`: `trials()`, `grids()`, `trial(id)`.

    Raises:
        UsageError: there is no such folder.
    """

    def __init__(self, runs_dir: str | Path = "runs") -> None:
        super().__init__(Path(runs_dir).expanduser().absolute())
        if not self.runs_dir.is_dir():
            raise UsageError(f"{self.runs_dir}: there is no ledger here. Give the folder: Ledger('PATH')")

    def table(self) -> pd.DataFrame:
        """Return a row per trial: `trial_id`, `status`, the swept options, `seed`, counters, and scores as `test/…`.

        A trial with a damaged record has the status `damaged`. Values that a trial lacks are missing.
        """
        return pd.DataFrame(self._rows())

    def _rows(self) -> Iterator[dict[str, Any]]:
        for folder in self.trials():
            record = folder.record_or_problem()
            if not isinstance(record, TrialRecord):
                yield {"trial_id": folder.trial_id, "status": "damaged"}
                continue
            result = record.result
            counters = vars(result.counters) if result else {}
            yield {
                "trial_id": record.trial_id,
                "status": str(record.status),
                **record.options,
                **{name: value for name, value in counters.items() if name != "windows"},
                **({"parameters": result.parameters, "training_seconds": result.training_seconds} if result else {}),
                **{f"test/{name}": value for name, value in record.scores(record.evaluations).items()},
            }

    def history(self, trial_ids: Sequence[str] | None = None, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the logs: a row per trial and logged step, with `trial_id`, `step` and metrics.

        Args:
            trial_ids: None for all trials.
            columns: names of metrics, as `train/loss`; None for all.
        """
        ids = [folder.trial_id for folder in self.trials()] if trial_ids is None else trial_ids
        return LedgerLogs(self).history(ids, (), columns)


def lesson(name: str | None = None, runs_dir: str | Path = "runs") -> Lesson:
    """Return a lesson: `table()` has its numbers, `verdicts` the verdict of each declared contrast.

    Args:
        name: of a lesson, or a grid's id; None for the grid that was run last.
        runs_dir: a ledger, or an archive such as analysis/data.

    Raises:
        UsageError: there is no such grid.
        LedgerError: the folder has neither a ledger nor an archive.
        FailureError: the arms cannot be compared, or nothing is finished.
    """
    logs = open_logs(Path(runs_dir).expanduser().absolute())
    grids = logs.grids()
    if not grids:
        raise UsageError(f"{logs.where}: no grid was run here. Give the folder: lesson(runs_dir='PATH')")
    results = GridResults(logs, grids[0] if name is None else grid_named(grids, name, logs.where))
    lesson_or_reason = lesson_or_gap(results, stale_trials(results))
    if isinstance(lesson_or_reason, str):
        raise FailureError(f"{results.grid_id}: no lesson. {lesson_or_reason}")
    return lesson_or_reason


def ladder(
    *names: str,
    metric: str | None = None,
    baseline: str | None = None,
    over: Sequence[str] | None = None,
    runs_dir: str | Path = "runs",
) -> Ladder:
    """Return the ladder of one or several grids with the same arms at several sizes or budgets.

    Args:
        names: of lessons, or ids of grids.
        metric: its name; None for the first grid's primary metric.
        baseline: an arm's values without those of its rung; None for those of the first grid's baseline.
        over: the swept keys whose values make a rung; None for those of the groups `scale` and `budget`.
        runs_dir: a ledger, or an archive such as analysis/data.

    Raises:
        UsageError: there is no such grid.
        LedgerError: the folder has neither a ledger nor an archive.
        FailureError: the arms of a grid cannot be compared, or no rung has the baseline's scores.
    """
    logs = open_logs(Path(runs_dir).expanduser().absolute())
    grids = [GridResults(logs, grid_named(logs.grids(), name, logs.where)) for name in names]
    if not grids:
        raise UsageError("ladder: name the lessons or grids whose arms it compares, as ladder('small', 'large')")
    try:
        for results in grids:
            check_comparable(results)
        return Ladder.of(grids, metric, baseline, over)
    except IncomparableError as error:
        raise FailureError(f"{', '.join(names)}: no ladder. {error}") from None
