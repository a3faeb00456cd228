"""A ledger as a kind of `Logs`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ablate.errors import LedgerError
from ablate.records.grid import GridRecord
from ablate.records.ledger import Ledger
from ablate.records.logs import one_table
from ablate.records.metrics import read_metrics
from ablate.records.trial import TrialRecord


@dataclass(frozen=True)
class LedgerLogs:
    """A ledger as a kind of `Logs`. A trial with a damaged record counts as missing.

    Attributes:
        problems: one message per damaged file.
    """

    ledger: Ledger
    problems: list[str] = field(default_factory=list)

    @property
    def where(self) -> str:
        """The ledger's folder."""
        return str(self.ledger.runs_dir)

    def grids(self) -> list[GridRecord]:
        """Return all grids, the newest first."""
        return self.ledger.grids(self.problems)

    def record(self, trial_id: str) -> TrialRecord:
        """Return a trial's record; of an unknown trial or a damaged record, an empty pending one."""
        record = self.ledger.trial(trial_id).record_or_problem()
        if isinstance(record, TrialRecord):
            return record
        self._add_problem(record)
        return TrialRecord(trial_id)

    def _add_problem(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def history(
        self, trial_ids: Sequence[str], suites: Collection[str], columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return the table of these trials."""
        parts = [part for trial in trial_ids if (part := self._rows(trial, columns)) is not None]
        scores = {trial: self.record(trial).scores(suites) for trial in trial_ids}
        return one_table(parts, {trial: of_trial for trial, of_trial in scores.items() if of_trial}, columns)

    def _rows(self, trial_id: str, columns: Sequence[str] | None) -> pd.DataFrame | None:
        folder = self.ledger.trial(trial_id)
        try:
            rows = _read_columns(folder.path / "metrics.parquet", columns)
        except (FileNotFoundError, pa.ArrowInvalid):
            # The Parquet file is written when training ends, and may be incomplete.
            try:
                rows = pd.DataFrame(read_metrics(folder.metrics_path))
            except LedgerError as error:
                self._add_problem(str(error))
                return None
            if columns is not None:
                rows = rows[[name for name in rows.columns if name == "step" or name in columns]]
        if rows.empty:
            return None
        rows.insert(0, "trial_id", trial_id)
        return rows

    def documents(self, trial_id: str, suites: Collection[str]) -> pd.DataFrame | None:
        """Return the scores per document; None if they were not kept."""
        paths = [self.ledger.trial(trial_id).evaluation_path(suite) for suite in suites]
        tables = []
        for path in paths:
            try:
                tables.append(_read_columns(path, None))
            except FileNotFoundError:
                continue
            except (OSError, pa.ArrowException) as error:
                self._add_problem(f"{path}: is damaged ({error}); its scores per document are left out.")
        return pd.concat(tables, ignore_index=True) if tables else None

    def programs(self, trial_id: str, suite: str) -> pd.DataFrame | None:
        """Return the programs that a trial wrote for a suite."""
        path = self.ledger.trial(trial_id).evaluation_path(suite).with_suffix(".programs.parquet")
        try:
            return _read_columns(path, None)
        except FileNotFoundError:
            return None
        except (OSError, pa.ArrowException) as error:
            self._add_problem(f"{path}: is damaged ({error}); its programs are left out.")
            return None


def _read_columns(path: Path, columns: Sequence[str] | None) -> pd.DataFrame:
    file = pq.ParquetFile(path)
    present = None if columns is None else [name for name in ("step", *columns) if name in file.schema_arrow.names]
    # Threads cost more than they save on files of this size.
    rows: pd.DataFrame = file.read(present, use_threads=False).to_pandas(use_threads=False)
    return rows
