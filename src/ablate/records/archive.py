"""An archive: compact logs to keep in a repository, from which readers rebuild tables and figures without training.

<folder>/
  grids.json            the records of grids
  trials.json           the records of their trials, without tracebacks and diffs
  history.parquet       the logs: trial_id, step, metrics
  documents.parquet     scores per document

The same logs give the same bytes.
"""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import pandas as pd

from ablate.files import read_versioned, replacing, write_json, write_text
from ablate.records.grid import GridRecord
from ablate.records.ledger import Ledger
from ablate.records.logs import KEYS, Logs, one_table
from ablate.records.provenance import Provenance
from ablate.records.schema import FORMAT, from_json, to_json
from ablate.records.trial import TrialRecord

# Metrics that the archive leaves out.
SPEED = "speed/"


# A word of a command, as it is quoted for a shell.
LOCAL_OPTION = re.compile(r" (?:'[\w.+]+=/[^']*'|[\w.+]+=/\S*)")


@dataclass(frozen=True)
class Archive:
    """An archive as a kind of `Logs`."""

    folder: Path

    @property
    def where(self) -> str:
        """The folder."""
        return str(self.folder)

    @property
    def problems(self) -> list[str]:
        """None: an archive is read whole or not at all."""
        return []

    @property
    def is_there(self) -> bool:
        """Whether the folder has an archive."""
        return (self.folder / "grids.json").exists()

    @cached_property
    def _trials(self) -> dict[str, TrialRecord]:
        trials = read_versioned(self.folder / "trials.json", FORMAT)["trials"]
        return {trial_id: from_json(TrialRecord, record) for trial_id, record in trials.items()}

    @cached_property
    def _histories(self) -> dict[str, pd.DataFrame]:
        """Trial id → log."""
        return _by_trial(self.folder / "history.parquet")

    @cached_property
    def _documents(self) -> dict[str, pd.DataFrame]:
        """Trial id → scores per document of all suites."""
        return _by_trial(self.folder / "documents.parquet")

    def grids(self) -> list[GridRecord]:
        """Return all grids, sorted by the names of their lessons."""
        grids = read_versioned(self.folder / "grids.json", FORMAT)["grids"]
        return [from_json(GridRecord, grid) for grid in grids]

    def record(self, trial_id: str) -> TrialRecord:
        """Return a trial's record; of an unknown trial, an empty pending one."""
        return self._trials.get(trial_id, TrialRecord(trial_id))

    def history(
        self, trial_ids: Sequence[str], suites: Collection[str], columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return the table of these trials."""
        histories = [self._histories[trial] for trial in trial_ids if trial in self._histories]
        parts = [rows.dropna(axis="columns", how="all") for rows in histories]
        scores = {trial: self.record(trial).scores(suites) for trial in trial_ids}
        return one_table(parts, {trial: of_trial for trial, of_trial in scores.items() if of_trial}, columns)

    def documents(self, trial_id: str, suites: Collection[str]) -> pd.DataFrame | None:
        """Return the scores per document; None if they were not kept."""
        if trial_id not in self._documents:
            return None
        table = self._documents[trial_id]
        scores = table[table["suite_id"].isin(suites)]
        return None if scores.empty else scores.drop(columns=["trial_id", "suite_id"]).reset_index(drop=True)

    def programs(self, trial_id: str, suite: str) -> None:
        """Return None: an archive keeps no programs."""


def _by_trial(path: Path) -> dict[str, pd.DataFrame]:
    return {str(trial): rows for trial, rows in pd.read_parquet(path).groupby("trial_id", sort=False)}


def write_archive(logs: Logs, grids: Iterable[GridRecord], folder: Path) -> Archive:
    """Write records, logs and scores of these grids to a folder and return them as `Logs`."""
    # Sorted, because the order in a ledger depends on which grid was run last.
    ordered = sorted(grids, key=lambda grid: (grid.declaration.name or "~", grid.created_at))
    scored = {(trial, suite) for grid in ordered for trial in grid.trial_ids for suite in grid.suite_ids}
    records = {trial: _public_trial(logs.record(trial)) for trial in sorted({trial for trial, _ in scored})}
    public = [to_json(_public_grid(grid)) for grid in ordered]
    write_json(folder / "grids.json", {"format": FORMAT, "grids": public})
    # A line per trial.
    lines = ",\n".join(f"{json.dumps(trial)}: {json.dumps(to_json(record))}" for trial, record in records.items())
    write_text(folder / "trials.json", f'{{"format": {FORMAT}, "trials": {{\n{lines}\n}}}}\n')
    history, documents = [], []
    for trial in records:
        rows = logs.history([trial], ())
        history.append(rows[[name for name in rows.columns if name in KEYS or not name.startswith(SPEED)]])
    for trial, suite in sorted(scored):
        scores = logs.documents(trial, [suite])
        if scores is not None:
            documents.append(scores.assign(trial_id=trial, suite_id=suite))
    for name, parts in (("history", history), ("documents", documents)):
        table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["trial_id", "suite_id"])
        with replacing(folder / f"{name}.parquet") as scratch:
            table.to_parquet(scratch, compression="zstd", index=False)
    return Archive(folder)


def restore(archive: Archive, ledger: Ledger) -> int:
    """Write what a ledger lacks of an archive's trials and grids, and return how many trials that were.

    Grids then go on where the archive ends: a trial that has its scores is not trained again. Weights are not in an
    archive, so a suite that is added later trains such a trial anew.

    Raises:
        LedgerError: a record of the ledger is damaged.
    """
    # Oldest first, because the grid that was written last is the newest.
    grids = sorted(archive.grids(), key=lambda grid: grid.created_at)
    suites: dict[str, set[str]] = defaultdict(set)
    for grid in grids:
        for trial in grid.trial_ids:
            suites[trial].update(grid.suite_ids)
    restored = 0
    for trial in sorted(suites):
        folder = ledger.trial(trial)
        if folder.record_path.exists() or not archive.record(trial).has_outcome:
            continue
        rows = archive.history([trial], ()).drop(columns="trial_id").to_dict("records")
        lines = [json.dumps({name: value for name, value in row.items() if pd.notna(value)}) + "\n" for row in rows]
        write_text(folder.metrics_path, "".join(lines))
        for suite in sorted(suites[trial]):
            documents = archive.documents(trial, [suite])
            if documents is not None:
                with replacing(folder.evaluation_path(suite)) as scratch:
                    documents.to_parquet(scratch, index=False)
        # Last: with its record a trial counts as finished.
        folder.write(archive.record(trial))
        restored += 1
    for grid in grids:
        ledger.update_grid(grid.grid_id, partial(_first, grid))
    return restored


def _first(archived: GridRecord, record: GridRecord | None) -> GridRecord:
    """What a ledger has of a grid, else what the archive has."""
    return record or archived


def _public_grid(grid: GridRecord) -> GridRecord:
    """The record without folders of a machine: options with an absolute path are left out of the command."""
    return replace(grid, provenance=_public(grid.provenance), command=LOCAL_OPTION.sub("", grid.command))


def _public_trial(record: TrialRecord) -> TrialRecord:
    """The record without fields that no lesson reads; some of them name machines and private folders."""
    return replace(
        record,
        attempts=(),
        failure=None,
        provenance=_public(record.provenance),
        is_scoring=False,
        pruned_by=None,
        started_at=None,
        finished_at=None,
        updated_at=None,
    )


def _public(provenance: Provenance | None) -> Provenance | None:
    return provenance and replace(provenance, host=None, git_diff=None)
