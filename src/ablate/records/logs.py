"""`Logs`: what lessons are computed from. A ledger, an archive, W&B's offline files and a W&B project are kinds of it.

All kinds give the same table: a row per trial and logged step; the columns are `trial_id`, `step` and the names of the
metrics, with `test/…` in the row of a trial's last step.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import pandas as pd

from ablate.records.grid import GridRecord
from ablate.records.trial import Scores, TrialRecord

KEYS = ("trial_id", "step")


class Logs(Protocol):
    """Records, logs and scores of grids and trials."""

    @property
    def where(self) -> str:
        """Where the logs are, for messages."""

    @property
    def problems(self) -> list[str]:
        """A message per damaged or missing file that was read so far."""

    def grids(self) -> list[GridRecord]:
        """Return the records of all grids, the newest first."""

    def record(self, trial_id: str) -> TrialRecord:
        """Return a trial's record; of an unknown trial, an empty pending one."""

    def history(
        self, trial_ids: Sequence[str], suites: Collection[str], columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return the table of these trials, in this order.

        Args:
            suites: ids of the suites whose scores are under `test/`.
            columns: names of metrics, which need not exist; None for all.
        """

    def documents(self, trial_id: str, suites: Collection[str]) -> pd.DataFrame | None:
        """Return `metric`, `source`, `document`, `amount`, `units` per scored document; None if they were not kept."""

    def programs(self, trial_id: str, suite: str) -> pd.DataFrame | None:
        """Return the programs that a trial wrote for a suite of this id; None if they were not kept.

        `problem`, `sample`, `text`, `prompt`, `outcome`, `reason` and more, by problem and sample.
        """


def one_table(
    parts: Sequence[pd.DataFrame], scores: Mapping[str, Scores], columns: Sequence[str] | None
) -> pd.DataFrame:
    """Join the rows of trials and their scores to the table of `Logs.history`.

    Args:
        parts: the rows of one trial each, with both keys.
        scores: by trial; without trials that are not scored.
        columns: as in `Logs.history`.
    """
    if not parts:
        return pd.DataFrame(columns=list(KEYS))
    table = pd.concat(parts, ignore_index=True)
    kept = table["trial_id"].drop_duplicates(keep="last")
    last = pd.Series(kept.index, index=kept.to_numpy())
    scored = pd.DataFrame.from_dict(dict(scores), orient="index").add_prefix("test/")
    scored = scored.loc[scored.index.intersection(last.index)]
    table = table.join(scored.set_index(last.loc[scored.index].to_numpy()))
    names = [name for name in table.columns if name not in KEYS]
    # Not every kind of logs tells 1 from 1.0.
    numbers = [name for name in names if pd.api.types.is_numeric_dtype(table[name])]
    table[numbers] = table[numbers].astype(float)
    if columns is not None:
        names = [name for name in columns if name in names]
    return table[[*KEYS, *(sorted(names) if columns is None else names)]]
