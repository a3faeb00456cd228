"""A ledger as a kind of `Logs`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ablate.records.grid import GridRecord
from ablate.records.ledger import Ledger
from ablate.records.logs import one_table
from ablate.records.metrics import read_metrics
from ablate.records.trial import TrialRecord


@dataclass(frozen=True)
class LedgerLogs:
    """A ledger as a kind of `Logs`."""

    ledger: Ledger

    @property
    def where(self) -> str:
        """The ledger's folder."""
        return str(self.ledger.runs_dir)

    def grids(self) -> list[GridRecord]:
        """Return all grids, the newest first."""
        return self.ledger.grids()

    def record(self, trial_id: str) -> TrialRecord:
        """Return a trial's record."""
        return self.ledger.trial(trial_id).record()

    def history(
        self, trial_ids: Sequence[str], suites: Collection[str], columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return the table of these trials."""
        parts = [part for trial in trial_ids if (part := self._rows(trial, columns)) is not None]
        scores = {trial: self.record(trial).scores(suites) for trial in trial_ids}
        return one_table(parts, {trial: found for trial, found in scores.items() if found}, columns)

    def _rows(self, trial_id: str, columns: Sequence[str] | None) -> pd.DataFrame | None:
        folder = self.ledger.trial(trial_id)
        try:
            rows = _read_columns(folder.path / "metrics.parquet", columns)
        except (FileNotFoundError, pa.ArrowInvalid):
            # The Parquet file is written when training ends, and may be incomplete.
            rows = pd.DataFrame(read_metrics(folder.metrics_path))
            if columns is not None:
                rows = rows[[name for name in rows.columns if name == "step" or name in columns]]
        if rows.empty:
            return None
        rows.insert(0, "trial_id", trial_id)
        return rows

    def documents(self, trial_id: str, suites: Collection[str]) -> pd.DataFrame | None:
        """Return the scores per document; None if they were not kept."""
        paths = [self.ledger.trial(trial_id).evaluation_path(suite) for suite in suites]
        tables = [pd.read_parquet(path) for path in paths if path.exists()]
        return pd.concat(tables, ignore_index=True) if tables else None


def _read_columns(path: Path, columns: Sequence[str] | None) -> pd.DataFrame:
    file = pq.ParquetFile(path)
    wanted = None if columns is None else [name for name in ("step", *columns) if name in file.schema_arrow.names]
    # Threads cost more than they save on files of this size.
    rows: pd.DataFrame = file.read(wanted, use_threads=False).to_pandas(use_threads=False)
    return rows
