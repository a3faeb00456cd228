"""Where a lesson's numbers are read from, and the one table in which all of them come.

The ledger, the archive that travels with a repository, and W&B's files or project are kinds of `Logs`. The table is the
same from each of them: a row per trial and logged step, in the order asked for; the columns are `trial_id`, `step`, and
the metrics' names as they were logged, with `test/…` in the row of a trial's last step.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pandas as pd

from ablate.errors import LedgerError
from ablate.records.grid import GridRecord
from ablate.records.trial import Scores, TrialRecord

KEYS = ("trial_id", "step")


class Logs(Protocol):
    """What can be read of grids and trials."""

    @property
    def where(self) -> str:
        """For people."""

    def grids(self) -> list[GridRecord]:
        """The records of all grids, the newest first."""

    def record(self, trial_id: str) -> TrialRecord:
        """A trial's record; of an unknown trial, an empty one with the status `pending`."""

    def history(
        self, trial_ids: Sequence[str], evaluation_id: str, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """The one table.

        Args:
            trial_ids: which trials.
            evaluation_id: which scores stand under `test/`.
            columns: only these metrics, which need not be there; None: all.
        """

    def documents(self, trial_id: str, evaluation_id: str) -> pd.DataFrame | None:
        """`metric`, `source`, `document`, `amount`, `units` of what was scored; None where they are not kept."""


def one_table(
    parts: Sequence[pd.DataFrame], scores: Mapping[str, Scores], columns: Sequence[str] | None
) -> pd.DataFrame:
    """The table from a part per trial and the scores of trials by metric.

    Args:
        parts: rows of one trial each, with both keys.
        scores: by trial, of those that are scored.
        columns: as `Logs.history` takes them.
    """
    if not parts:
        return pd.DataFrame(columns=list(KEYS))
    table = pd.concat(parts, ignore_index=True)
    last = table.drop_duplicates("trial_id", keep="last").reset_index().set_index("trial_id")["index"]
    scored = pd.DataFrame.from_dict(dict(scores), orient="index").add_prefix("test/")
    scored = scored.loc[scored.index.intersection(last.index)]
    table = table.join(scored.set_index(last.loc[scored.index].to_numpy()))
    names = [name for name in table.columns if name not in KEYS]
    # A whole number and the same one with a point are written alike by some of them.
    numbers = [name for name in names if pd.api.types.is_numeric_dtype(table[name])]
    table[numbers] = table[numbers].astype(float)
    if columns is not None:
        names = [name for name in columns if name in names]
    return table[[*KEYS, *(sorted(names) if columns is None else names)]]


def open_logs(folder: Path) -> Logs:
    """The archive or ledger in a folder.

    Raises:
        LedgerError: neither is there.
    """
    from ablate.records.archive import Archive
    from ablate.records.ledger import Ledger
    from ablate.records.ledger_logs import LedgerLogs

    if Archive(folder).is_there:
        return Archive(folder)
    if (folder / "grids").is_dir():
        return LedgerLogs(Ledger(folder))
    raise LedgerError(
        f"{folder}: neither a ledger nor an archive of one is here. Run something, or say where it is: runs_dir=PATH"
    )
