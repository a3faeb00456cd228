"""The ledger: the config, state and results of each trial, grid and tuning.

runs/
  grids/<grid_id>.json         command, arms and their trials, declaration, looks (`GridRecord`)
  diffs/<digest>.diff          uncommitted changes to the code
  tunings/<tuning_id>.json     command, settings, a study per arm (`TuningRecord`)
  tunings/owners/              leases of the commands that run tunings
  studies.journal              the studies, unless hydra.sweeper.storage says otherwise
  <trial_id>/
    config.yaml                frozen before the trial starts
    record.json                status, attempts, results, provenance (`TrialRecord`)
    metrics.jsonl              one object per logged step; metrics.parquet when the training ends
    evaluations/<id>.parquet   bits and bytes of each document; of programs that the model wrote, see `programming.py`
    checkpoints/               until the trial is finished
    model.pt                   the trained weights
    attempts/<number>/         files of an attempt that `retry` archived
    lease.<n>                  while a process works on the trial
    log.txt                    output of the process
    wandb/                     offline runs
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ablate.errors import LedgerError, NewerFormatError
from ablate.files import write_text
from ablate.records.checkpoints import Checkpoints
from ablate.records.grid import GridRecord
from ablate.records.lease import Holder, Lease, LockedError, live_holder
from ablate.records.process import this_host
from ablate.records.schema import read, write
from ablate.records.trial import Attempt, Status, Submission, TrialRecord
from ablate.records.tuning import TuningRecord

T = TypeVar("T")
# The C version is ten times as fast, but not always built.
DUMPER, LOADER = getattr(yaml, "CSafeDumper", yaml.SafeDumper), getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LEASE_RETRY_SECONDS = 0.05


@dataclass(frozen=True)
class TrialFolder:
    """One trial's folder in the ledger."""

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
        """The output of the trial's process."""
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
        """Whether training ended: its weights are there and the record has its result. Scores may be missing."""
        return self.model_path.exists() and self.record().result is not None

    def evaluation_path(self, suite_id: str) -> Path:
        """Bits and bytes of each document under one evaluation."""
        return self.path / "evaluations" / f"{suite_id}.parquet"

    @property
    def checkpoints(self) -> Checkpoints:
        """The trial's checkpoints."""
        return Checkpoints(self.path / "checkpoints", self.trial_id)

    @property
    def lease(self) -> Lease:
        """A lease on this trial, not yet acquired."""
        return Lease(self.path)

    @property
    def holder(self) -> Holder | None:
        """The live process that works on this trial, or None; may wait some seconds for a heartbeat."""
        return live_holder(self.path)

    @property
    def is_locked(self) -> bool:
        """Whether a process works on this trial; does not wait for a heartbeat."""
        return live_holder(self.path, watch_seconds=0) is not None

    def frozen(self) -> dict[str, Any]:
        """Return the frozen config as plain values. Raises LedgerError if it cannot be read."""
        try:
            container = yaml.load(self.config_path.read_text(encoding="utf-8"), Loader=LOADER)
        except (OSError, ValueError, yaml.YAMLError):
            container = None
        if not isinstance(container, dict):
            raise LedgerError(
                f"{self.config_path}: is not a configuration. Delete the folder {self.path} and run the grid again."
            )
        return container

    @property
    def record_path(self) -> Path:
        """The record's file."""
        return self.path / "record.json"

    def record(self) -> TrialRecord:
        """Return the record; without a file, a pending trial that nothing is known of.

        Raises:
            LedgerError: the file is damaged.
        """
        try:
            return read(self.record_path, TrialRecord)
        except FileNotFoundError:
            return TrialRecord(self.trial_id)

    def record_or_problem(self) -> TrialRecord | str:
        """Return the record, or what is wrong with a damaged file. Raises NewerFormatError."""
        try:
            return self.record()
        except NewerFormatError:
            raise
        except LedgerError as error:
            return str(error)

    @property
    def status(self) -> Status:
        """The state of the trial, by its record."""
        return self.record().status

    def write(self, record: TrialRecord) -> None:
        """Replace the record, atomically. While the trial runs, only the holder of its lease does."""
        write(self.record_path, replace(record, updated_at=time.time()))

    def update(self, **changes: Any) -> None:
        """Set fields of the record, atomically. While the trial runs, only the holder of its lease does."""
        self.write(replace(self.record(), **changes))

    def archive_attempt(self) -> None:
        """Move the files of an earlier attempt to `attempts/<number>`, so that the next one starts from step 0."""
        record = self.record()
        place = self.path / "attempts" / f"{len(record.attempts):02}"
        # The record first: weights that it does not know of are no result.
        self.write(replace(record, result=None, validation={}, evaluations={}))
        for name in ("checkpoints", "metrics.jsonl", "metrics.parquet", "model.pt", "log.txt", "evaluations"):
            if (self.path / name).exists():
                place.mkdir(parents=True, exist_ok=True)
                (self.path / name).replace(place / name)

    def begin_attempt(self, *, threads: int | None = None, ranks: int = 1, job: Submission | None = None) -> None:
        """Mark the trial as running in this process, in one more attempt."""
        self.end_attempt("died")
        now, record = time.time(), self.record()
        attempt = Attempt(
            started_at=now,
            host=this_host(),
            pid=os.getpid(),
            threads=threads,
            ranks=ranks,
            submission=job or record.submission,
        )
        attempts = (*record.attempts, attempt)
        running = replace(record, status=Status.RUNNING, submission=None, started_at=now, failure=None)
        self.write(replace(running, attempts=attempts))

    def update_attempt(self, **changes: Any) -> None:
        """Set fields of the newest attempt."""
        *earlier, newest = self.record().attempts
        self.update(attempts=(*earlier, replace(newest, **changes)))

    def end_attempt(self, ended: str, **changes: Any) -> None:
        """Record how the newest attempt ended, if it has not ended, together with other fields of the record."""
        record = self.record()
        attempts = record.attempts
        if attempts and attempts[-1].ended is None:
            attempts = (*attempts[:-1], replace(attempts[-1], ended=ended, ended_at=time.time()))
        if attempts or changes:
            self.write(replace(record, attempts=attempts, **changes))


@dataclass(frozen=True)
class Ledger:
    """All trials and grids below one `runs_dir`."""

    runs_dir: Path

    def trial(self, trial_id: str) -> TrialFolder:
        """Return the folder of a trial; it need not exist."""
        return TrialFolder(self.runs_dir / trial_id)

    def freeze(self, record: TrialRecord, container: dict[str, Any]) -> None:
        """Write a trial's config, and its first record unless it has one.

        A config that an earlier grid froze is replaced, because where and how a trial runs may have changed (the
        result cannot: the id hashes it), but never while a process runs the trial.
        """
        folder = self.trial(record.trial_id)
        if folder.is_locked:
            return
        write_text(folder.config_path, yaml.dump(container, Dumper=DUMPER, sort_keys=False, allow_unicode=True))
        if not folder.record_path.exists():
            # Under the lease, because another command may freeze the trial now, and submit it.
            with contextlib.suppress(LockedError), folder.lease:
                if not folder.record_path.exists():
                    folder.write(record)

    def trials(self) -> Iterator[TrialFolder]:
        """Yield every frozen trial, by id."""
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

    def grid(self, grid_id: str) -> GridRecord:
        """Return a grid's record. Raises FileNotFoundError and LedgerError."""
        return read(self.grid_path(grid_id), GridRecord)

    def update_grid(self, grid_id: str, change: Callable[[GridRecord | None], GridRecord]) -> None:
        """Replace a grid's record. One command at a time does: others wait.

        Args:
            change: returns the new record from the one that is there; None if there is none yet.
        """
        folder, path = self.lesson_folder(grid_id), self.grid_path(grid_id)
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                with Lease(folder):
                    write(path, change(self.grid(grid_id) if path.exists() else None))
                    return
            except LockedError:
                time.sleep(LEASE_RETRY_SECONDS)

    def grids(self, problems: list[str] | None = None) -> list[GridRecord]:
        """Return the records of all grids, the one that was last run first.

        Args:
            problems: takes a message per damaged record, which is left out; else such a record raises LedgerError.
        """
        return _read_all(self.runs_dir / "grids", GridRecord, problems)

    def trials_of(self, grid: GridRecord) -> list[TrialFolder]:
        """Return the trials of a grid arm by arm; a trial that two arms name is there twice."""
        return [self.trial(trial) for trial in grid.trial_ids]

    def lesson_folder(self, grid_id: str) -> Path:
        """Where a grid's lesson is written."""
        return self.grid_path(grid_id).with_suffix("")

    def tuning_path(self, tuning_id: str) -> Path:
        """A tuning's record."""
        return self.runs_dir / "tunings" / f"{tuning_id}.json"

    def tuning(self, tuning_id: str) -> TuningRecord:
        """Return a tuning's record. Raises FileNotFoundError and LedgerError."""
        return read(self.tuning_path(tuning_id), TuningRecord)

    def tunings(self, problems: list[str] | None = None) -> list[TuningRecord]:
        """Return the records of all tunings, the one that was last run first. `problems` is as in `grids`."""
        return _read_all(self.runs_dir / "tunings", TuningRecord, problems)

    def owner_folder(self, owner: str) -> Path:
        """Where a command that runs a tuning holds its lease; one place for all, as tunings may share a study."""
        return self.runs_dir / "tunings" / "owners" / owner

    def check_writable(self) -> None:
        """Raise LedgerError if nothing can be written below `runs_dir`."""
        folder = self.runs_dir / "grids"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise LedgerError(
                f"{self.runs_dir}: cannot write the ledger ({error.strerror}). Choose another folder: runs_dir=PATH"
            ) from None


def _read_all(folder: Path, cls: type[T], problems: list[str] | None) -> list[T]:
    """Return the records in a folder, the last written first. Damaged ones are named in `problems`, or raise."""
    paths = [path for path in folder.glob("*.json") if not path.name.startswith(".")]
    records = []
    for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            records.append(read(path, cls))
        except NewerFormatError:
            raise
        except LedgerError as error:
            if problems is None:
                raise
            if str(error) not in problems:
                problems.append(str(error))
    return records
