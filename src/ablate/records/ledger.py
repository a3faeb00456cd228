"""The ledger: what each trial is, how far it came and what it found.

runs/
  grids/<grid_id>.json         the command's overrides, its arms and their trials, the lesson's declaration
  diffs/<digest>.diff          uncommitted changes to the code that trials ran with
  sweeps/<sweep_id>.json       the command's overrides and its arms' studies; sweeps/sweepers/: who runs one
  studies.journal              those studies, unless they are elsewhere
  <trial_id>/
    config.yaml                frozen before the trial starts
    record.json                status, times, counters, results, provenance
    metrics.jsonl              one object per logged step; metrics.parquet when it is finished
    evaluations/<id>.parquet   bits and bytes of each document
    checkpoints/               while it is not finished: what the next step depends on
    model.pt                   the trained weights
    attempts/<number>/         log and last state of an attempt that `retry` set aside
    lease.<n>                  while a process works on it
    log.txt                    what the process printed
    wandb/                     the mirror
"""

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from ablate.errors import LedgerError
from ablate.files import read_versioned, write_json, write_text
from ablate.records.checkpoints import Checkpoints
from ablate.records.lease import Holder, Lease, live_holder
from ablate.records.process import this_host

FORMAT = 1
# In C where that was built: ten times as fast.
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
# What the training writes into a record.
TRAINED = ("counters", "training_seconds", "parameters", "data_fingerprint", "reading")


class Status(StrEnum):
    """How far a trial is."""

    PENDING = "pending"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    DIVERGED = "diverged"
    PRUNED = "pruned"


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

    @property
    def is_trained(self) -> bool:
        """Whether its weights are there and the record knows of them; what may be missing is a score."""
        return self.model_path.exists() and "counters" in self.record()

    def evaluation_path(self, evaluation_id: str) -> Path:
        """Bits and bytes of each document under one evaluation."""
        return self.path / "evaluations" / f"{evaluation_id}.parquet"

    @property
    def checkpoints(self) -> Checkpoints:
        """What the next step depends on."""
        return Checkpoints(self.path / "checkpoints", self.trial_id)

    @property
    def lease(self) -> Lease:
        """A lease on this trial, not yet taken."""
        return Lease(self.path)

    @property
    def holder(self) -> Holder | None:
        """The live process that works on this trial, if there is one; may watch a silent one for some seconds."""
        return live_holder(self.path)

    @property
    def is_held(self) -> bool:
        """Whether a process works on this trial, as far as one look tells."""
        return live_holder(self.path, watch_seconds=0) is not None

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
        record = {
            "format": FORMAT,
            "trial_id": self.trial_id,
            "status": Status.PENDING,
            "evaluations": {},
            "attempts": [],
        }
        try:
            return record | read_versioned(self.path / "record.json", FORMAT)
        except FileNotFoundError:
            return record

    @property
    def status(self) -> Status:
        """How far the trial is, by its record."""
        return Status(self.record()["status"])

    def update(self, **changes: Any) -> None:
        """Sets keys of the record, atomically. Only the lease's holder does so while the trial runs."""
        write_json(self.path / "record.json", {**self.record(), **changes, "updated_at": time.time()})

    def archive_attempt(self) -> None:
        """Moves what an earlier attempt left behind to `attempts/<number>`, so that the next one begins anew."""
        record = self.record()
        place = self.path / "attempts" / f"{len(record['attempts']):02}"
        # The record first: weights that it does not know of are no result.
        kept = {name: value for name, value in record.items() if name not in (*TRAINED, "val_evaluations")}
        write_json(self.path / "record.json", kept)
        for name in ("checkpoints", "metrics.jsonl", "metrics.parquet", "model.pt", "log.txt"):
            if (self.path / name).exists():
                place.mkdir(parents=True, exist_ok=True)
                (self.path / name).replace(place / name)

    def begin_attempt(self, **about: Any) -> None:
        """Marks the trial as running, in one more attempt: who runs it, since when, and `about` it."""
        self.end_attempt("died")
        now = time.time()
        attempt = {"started_at": now, "host": this_host(), "pid": os.getpid(), **about}
        attempts = [*self.record()["attempts"], attempt]
        self.update(status=Status.RUNNING, started_at=now, failure=None, attempts=attempts)

    def update_attempt(self, **changes: Any) -> None:
        """Sets keys of the newest attempt."""
        *earlier, newest = self.record()["attempts"]
        self.update(attempts=[*earlier, {**newest, **changes}])

    def end_attempt(self, ended: str, **changes: Any) -> None:
        """Says how the newest attempt ended, if it has not ended, and sets keys of the record with it."""
        attempts = self.record()["attempts"]
        if attempts and "ended" not in attempts[-1]:
            attempts[-1] |= {"ended": ended, "ended_at": time.time()}
        if attempts or changes:
            self.update(attempts=attempts, **changes)


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
        if folder.is_held:
            return
        write_text(folder.config_path, yaml.dump(container, Dumper=DUMPER, sort_keys=False, allow_unicode=True))
        if not folder.is_recorded:
            folder.update(**about)

    def trials(self) -> Iterator[TrialFolder]:
        """Every trial that was ever planned, by id."""
        try:
            names = sorted(entry.name for entry in os.scandir(self.runs_dir) if entry.is_dir() and entry.name[0] != ".")
        except FileNotFoundError:
            return
        for name in names:
            if self.trial(name).config_path.exists():
                yield self.trial(name)

    def grid_path(self, grid_id: str) -> Path:
        """A grid's record."""
        return self.runs_dir / "grids" / f"{grid_id}.json"

    def sweep_path(self, sweep_id: str) -> Path:
        """A sweep's record."""
        return self.runs_dir / "sweeps" / f"{sweep_id}.json"

    def sweep(self, sweep_id: str) -> dict[str, Any]:
        """A sweep's record. Raises FileNotFoundError, and LedgerError like `read_versioned`."""
        return read_versioned(self.sweep_path(sweep_id), FORMAT)

    def sweeper_folder(self, sweeper: str) -> Path:
        """Where a command that runs a sweep holds its lease; in one place, as several sweeps may share a study."""
        return self.runs_dir / "sweeps" / "sweepers" / sweeper

    def sweeps(self) -> list[dict[str, Any]]:
        """The records of all sweeps, the one that was last asked for first. Raises like `read_versioned`."""
        return [read_versioned(path, FORMAT) for path in _newest_first(self.runs_dir / "sweeps")]

    def lesson_folder(self, grid_id: str) -> Path:
        """Where a grid's lesson is written."""
        return self.grid_path(grid_id).with_suffix("")

    def grids(self) -> list[Path]:
        """The records of all grids, the one that was last asked for first."""
        return _newest_first(self.runs_dir / "grids")

    def grid(self, grid_id: str) -> dict[str, Any]:
        """A grid's record. Raises FileNotFoundError, and LedgerError like `read_versioned`."""
        return read_versioned(self.grid_path(grid_id), FORMAT)

    def trials_of(self, grid: dict[str, Any]) -> list[TrialFolder]:
        """The trials that a grid's record names, arm by arm; one that two arms name, twice."""
        return [self.trial(trial) for arm in grid["arms"] for trial in arm["trials"].values()]

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


def _newest_first(folder: Path) -> list[Path]:
    """The records in a folder, the one that was last written first."""
    found = [path for path in folder.glob("*.json") if not path.name.startswith(".")]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
