"""The ledger: what each trial is, how far it came and what it found.

runs/
  grids/<grid_id>.json         the command's overrides, its arms and their trials, the lesson's declaration
  <trial_id>/
    config.yaml                frozen before the trial starts
    record.json                status, times, counters, results, provenance
    metrics.jsonl              one object per logged step; metrics.parquet when it is finished
    evaluations/<id>.parquet   bits and bytes of each document
    model.pt                   the trained weights
    log.txt                    what the process printed
    wandb/                     the mirror
"""

import tempfile
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from ablate.records.files import read_json, write_json, write_text
from ablate.records.lease import Lease, discard_stale, live_holder

FORMAT = 1


class Status(StrEnum):
    """How far a trial is."""

    PLANNED = "planned"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    DIVERGED = "diverged"
    PRUNED = "pruned"


class LedgerError(RuntimeError):
    """The ledger can't be written or was written by something that this version doesn't know."""


@dataclass(frozen=True)
class TrialFolder:
    """One trial's place in the ledger."""

    path: Path

    @property
    def trial_id(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def config_path(self) -> Path:
        """The frozen config."""
        return self.path / "config.yaml"

    @property
    def log_path(self) -> Path:
        """What the trial's process printed."""
        return self.path / "log.txt"

    @property
    def metrics_path(self) -> Path:
        """One JSON object per logged step."""
        return self.path / "metrics.jsonl"

    @property
    def model_path(self) -> Path:
        """The trained weights."""
        return self.path / "model.pt"

    def evaluation_path(self, evaluation_id: str) -> Path:
        """Bits and bytes of each document under one evaluation."""
        return self.path / "evaluations" / f"{evaluation_id}.parquet"

    @property
    def lease(self) -> Lease:
        """A lease on this trial, not yet taken."""
        return Lease(self.path / "lease")

    @property
    def holder(self) -> dict[str, str] | None:
        """The live process that works on this trial, if there is one."""
        return live_holder(self.path / "lease")

    def discard_stale_lease(self) -> None:
        """Removes the lease of a process that is gone."""
        discard_stale(self.path / "lease")

    def frozen(self) -> dict[str, Any]:
        """The frozen config as a plain container."""
        container = yaml.safe_load(self.config_path.read_text(encoding="utf-8"))
        if not isinstance(container, dict):
            raise LedgerError(
                f"{self.config_path}: not a configuration. Delete the folder {self.path} to plan it anew."
            )
        return container

    @property
    def is_recorded(self) -> bool:
        """Whether there is a record."""
        return (self.path / "record.json").exists()

    def record(self) -> dict[str, Any]:
        """The record; of a trial that nobody planned, an empty one with the status `planned`."""
        path = self.path / "record.json"
        try:
            record = read_json(path)
        except FileNotFoundError:
            return {"format": FORMAT, "trial_id": self.trial_id, "status": Status.PLANNED, "evaluations": {}}
        except ValueError as error:
            raise LedgerError(f"{path}: not JSON ({error}). Delete it to run the trial anew.") from None
        if record["format"] > FORMAT:
            raise LedgerError(
                f"{path}: written by a newer ablate (ledger format {record['format']}, this one knows {FORMAT}). "
                "Update ablate, or choose another runs_dir."
            )
        assert isinstance(record, dict)
        return record

    @property
    def status(self) -> Status:
        """How far the trial is, by its record."""
        return Status(self.record()["status"])

    def update(self, **changes: Any) -> None:
        """Sets keys of the record, atomically. Only the lease's holder does so while the trial runs."""
        write_json(self.path / "record.json", {**self.record(), **changes, "updated_at": time.time()})


@dataclass(frozen=True)
class Ledger:
    """All trials and grids below one `runs_dir`."""

    runs_dir: Path

    def trial(self, trial_id: str) -> TrialFolder:
        """The folder of a trial, there or not."""
        return TrialFolder(self.runs_dir / trial_id)

    def plan(self, trial_id: str, container: dict[str, Any], about: dict[str, Any]) -> None:
        """Freezes a trial's config; its first record says `about` it what the grid knows.

        A config frozen by an earlier grid is written anew, as where and how a trial runs may have changed (what it
        computes can't: that is its id), but never under the feet of a process that runs it.
        """
        folder = self.trial(trial_id)
        if folder.holder is not None:
            return
        write_text(folder.config_path, yaml.safe_dump(container, sort_keys=False, allow_unicode=True))
        if not folder.is_recorded:
            folder.update(**about)

    def grid_path(self, grid_id: str) -> Path:
        """A grid's record."""
        return self.runs_dir / "grids" / f"{grid_id}.json"

    def grids(self) -> list[Path]:
        """The records of all grids, the one that was last asked for first."""
        found = (self.runs_dir / "grids").glob("*.json")
        return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)

    def check_writable(self) -> None:
        """Raises LedgerError when nothing can be written below `runs_dir`."""
        folder = self.runs_dir / "grids"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise LedgerError(
                f"{self.runs_dir}: cannot write the ledger ({error.strerror}). Choose another folder with runs_dir=…"
            ) from None
