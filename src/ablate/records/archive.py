"""The compact logs that travel with a repository, so that its readers rebuild tables and figures without training.

<folder>/
  grids.json            the records of grids
  trials.json           the records of their trials, without tracebacks and diffs
  history.parquet       what was logged: trial_id, step, metrics
  documents.parquet     what was scored, document by document

Written from the same logs, it has the same bytes.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from ablate.files import read_versioned, replacing, write_json, write_text
from ablate.records.ledger import FORMAT, Status
from ablate.records.logs import KEYS, Logs, one_table

# Of a trial's record, what no lesson asks for; some of it names machines.
LEFT_OUT = ("attempts", "failure", "is_scoring", "started_at", "finished_at", "updated_at")
# Of its log, what says how fast it was.
SPEED = "speed/"
# Of its provenance, what is nobody else's business.
PRIVATE = ("host", "git_diff")


@dataclass(frozen=True)
class Archive:
    """What such a folder holds; see `Logs`."""

    folder: Path

    @property
    def where(self) -> str:
        """The folder."""
        return str(self.folder)

    @property
    def is_there(self) -> bool:
        """Whether one was written."""
        return (self.folder / "grids.json").exists()

    @cached_property
    def _grids(self) -> list[dict[str, Any]]:
        found = read_versioned(self.folder / "grids.json", FORMAT)["grids"]
        assert isinstance(found, list)
        return found

    @cached_property
    def _trials(self) -> dict[str, dict[str, Any]]:
        found = read_versioned(self.folder / "trials.json", FORMAT)["trials"]
        assert isinstance(found, dict)
        return found

    @cached_property
    def _history(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "history.parquet")

    @cached_property
    def _documents(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "documents.parquet")

    def grids(self) -> list[dict[str, Any]]:
        """All grids, in the order of their lessons."""
        return self._grids

    def record(self, trial_id: str) -> dict[str, Any]:
        """A trial's record."""
        empty = {"format": FORMAT, "trial_id": trial_id, "status": Status.PENDING, "evaluations": {}}
        return self._trials.get(trial_id, empty)

    def history(
        self, trial_ids: Sequence[str], evaluation_id: str, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """The one table."""
        by_trial = dict(list(self._history.groupby("trial_id", sort=False)))
        parts = [by_trial[trial].dropna(axis="columns", how="all") for trial in trial_ids if trial in by_trial]
        scores = {trial: self.record(trial)["evaluations"].get(evaluation_id) for trial in trial_ids}
        return one_table(parts, {trial: found for trial, found in scores.items() if found}, columns)

    def documents(self, trial_id: str, evaluation_id: str) -> pd.DataFrame | None:
        """What was scored, document by document."""
        found = self._documents.query("trial_id == @trial_id and evaluation_id == @evaluation_id")
        return None if found.empty else found.drop(columns=["trial_id", "evaluation_id"]).reset_index(drop=True)


def write_archive(logs: Logs, grids: Iterable[dict[str, Any]], folder: Path) -> Archive:
    """Writes these grids' records, logs and scores to a folder and returns them as `Logs`."""
    # By name and age: neither what was read last nor where it lies changes the bytes.
    ordered = sorted(grids, key=lambda grid: (grid["declaration"].get("name") or "~", grid["created_at"]))
    scored = {
        (trial, grid["evaluation_id"]) for grid in ordered for arm in grid["arms"] for trial in arm["trials"].values()
    }
    records = {trial: _kept(logs.record(trial)) for trial in sorted({trial for trial, _ in scored})}
    write_json(folder / "grids.json", {"format": FORMAT, "grids": [_public(grid) for grid in ordered]})
    # A line per trial.
    lines = ",\n".join(f"{json.dumps(trial)}: {json.dumps(record)}" for trial, record in records.items())
    write_text(folder / "trials.json", f'{{"format": {FORMAT}, "trials": {{\n{lines}\n}}}}\n')
    history, documents = [], []
    for trial in records:
        rows = logs.history([trial], "")
        history.append(rows[[name for name in rows.columns if name in KEYS or not name.startswith(SPEED)]])
    for trial, evaluation in sorted(scored):
        found = logs.documents(trial, evaluation)
        if found is not None:
            documents.append(found.assign(trial_id=trial, evaluation_id=evaluation))
    for name, parts in (("history", history), ("documents", documents)):
        table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["trial_id", "evaluation_id"])
        with replacing(folder / f"{name}.parquet") as scratch:
            table.to_parquet(scratch, compression="zstd", index=False)
    return Archive(folder)


def _kept(record: dict[str, Any]) -> dict[str, Any]:
    return _public({name: value for name, value in record.items() if name not in LEFT_OUT})


def _public(record: dict[str, Any]) -> dict[str, Any]:
    if "provenance" not in record:
        return record
    told = {name: value for name, value in record["provenance"].items() if name not in PRIVATE}
    return {**record, "provenance": told}
