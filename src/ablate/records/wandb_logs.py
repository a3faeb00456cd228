"""W&B as a source of lessons: offline files or a project. What was to be decided stands in the ledger or archive."""

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

from ablate.records.files import LedgerError
from ablate.records.ledger import FORMAT, Status
from ablate.records.logs import Logs, one_table
from ablate.records.wandb_files import RunFile, read_run

# What W&B adds to a row, to a configuration.
OWN = ("_step", "_runtime", "_timestamp", "_wandb")
ABOUT, TEST = "ablate", "test/"
# From so many files on, processes are worth their start.
MANY_FILES = 50


@dataclass
class OfflineWandbLogs:
    """Offline runs below a folder, by the ids of their trials; see `Logs`.

    Attributes:
        folder: holds `run-<trial id>.wandb` at any depth, as a ledger does.
        declared: where grids are declared.
        problems: what is wrong with files that were read, one message each.
    """

    folder: Path
    declared: Logs
    problems: list[str] = field(default_factory=list)
    _runs: dict[str, "_Run"] = field(default_factory=dict)
    _found: dict[str, list[Path]] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """For people."""
        return f"W&B's offline files below {self.folder}"

    def grids(self) -> list[dict[str, Any]]:
        """The grids that are declared."""
        return self.declared.grids()

    def record(self, trial_id: str) -> dict[str, Any]:
        """What W&B knows of a trial, as its record."""
        return self._run(trial_id).record(trial_id)

    def history(
        self, trial_ids: Sequence[str], evaluation_id: str, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """The one table."""
        self._read(trial_ids)
        return _table({trial: self._run(trial) for trial in trial_ids}, evaluation_id, columns)

    def documents(self, trial_id: str, evaluation_id: str) -> None:
        """W&B has none."""

    def _run(self, trial_id: str) -> "_Run":
        self._read([trial_id])
        return self._runs[trial_id]

    def _read(self, trial_ids: Iterable[str]) -> None:
        """Reads the files of these trials that were not read yet; of one trial in the order of their start."""
        wanted = [trial for trial in trial_ids if trial not in self._runs]
        if not wanted:
            return
        if not self._paths:
            raise LedgerError(
                f"{self.folder}: no offline run of W&B's is below it. Trials write them with tracking=offline, which "
                "is the default."
            )
        paths = [path for trial in wanted for path in self._paths.get(trial, [])]
        files = dict(zip(paths, _read_all(paths), strict=True))
        self.problems += [file.problem for file in files.values() if file.problem]
        for trial in wanted:
            self._runs[trial] = _Run.of([files[path] for path in self._paths.get(trial, [])])

    @property
    def _paths(self) -> dict[str, list[Path]]:
        if not self._found:
            for path in sorted(self.folder.glob("**/*run-*/run-*.wandb"), key=lambda path: path.parent.name):
                self._found.setdefault(path.stem.removeprefix("run-"), []).append(path)
        return self._found


@dataclass
class ProjectLogs:
    """A W&B project, by the ids of its runs; see `Logs`. All points of a run are read, none are sampled.

    Attributes:
        project: `entity/project`.
        declared: where grids are declared.
        api: W&B's; made when it is first needed.
    """

    project: str
    declared: Logs
    api: Any = None
    _runs: dict[str, "_Run"] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """For people."""
        return f"the W&B project {self.project}"

    def grids(self) -> list[dict[str, Any]]:
        """The grids that are declared."""
        return self.declared.grids()

    def record(self, trial_id: str) -> dict[str, Any]:
        """What W&B knows of a trial, as its record."""
        return self._run(trial_id).record(trial_id)

    def history(
        self, trial_ids: Sequence[str], evaluation_id: str, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """The one table."""
        return _table({trial: self._run(trial) for trial in trial_ids}, evaluation_id, columns)

    def documents(self, trial_id: str, evaluation_id: str) -> None:
        """W&B has none."""

    def _run(self, trial_id: str) -> "_Run":
        """Raises LedgerError where the project can't be reached."""
        if trial_id not in self._runs:
            import wandb

            try:
                self.api = self.api or wandb.Api()
                run = self.api.run(f"{self.project}/{trial_id}")
                file = RunFile(dict(run.config), _flat(dict(run.summary)), [dict(row) for row in run.scan_history()])
            except (wandb.errors.CommError, ValueError) as error:
                if "could not find run" not in str(error).lower():
                    raise LedgerError(
                        f"{self.where}: can't be read ({error}). Is its name entity/project, and are you logged in "
                        "(wandb login)?"
                    ) from error
                file = RunFile()
            self._runs[trial_id] = _Run.of([file] if file.rows or file.summary else [])
        return self._runs[trial_id]


@dataclass(frozen=True)
class _Run:
    """A trial as its runs tell it, those of earlier attempts before those of later ones."""

    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    rows: pd.DataFrame

    @classmethod
    def of(cls, files: Sequence[RunFile]) -> "_Run":
        config: dict[str, Any] = {}
        summary: dict[str, Any] = {}
        rows: list[dict[str, Any]] = []
        for file in files:
            config |= file.config
            summary |= file.summary
            if file.rows:
                # A later attempt goes back to its checkpoint, and logs again what came after it.
                rows = [row for row in rows if row["_step"] < file.rows[0]["_step"]] + file.rows
        table = pd.DataFrame(rows)
        if not table.empty:
            table = table.rename(columns={"_step": "step"}).drop(columns=list(OWN), errors="ignore")
            table["step"] = table["step"].astype("int64")
        return cls(config, summary, table)

    @property
    def evaluation_id(self) -> str | None:
        return self.summary.get(f"{ABOUT}/evaluation_id")

    def scores(self) -> dict[str, float]:
        if self.rows.empty:
            return {}
        tested = [name for name in self.rows if str(name).startswith(TEST)]
        last = self.rows[tested].dropna(how="all").tail(1)
        return {
            str(name).removeprefix(TEST): float(value) for row in last.to_dict("records") for name, value in row.items()
        }

    def record(self, trial_id: str) -> dict[str, Any]:
        known = {name.removeprefix(f"{ABOUT}/"): value for name, value in self.summary.items() if _is_about(name)}
        planned = Status.PLANNED if self.rows.empty else Status.RUNNING
        evaluation = known.pop("evaluation_id", None)
        scores = self.scores()
        return {
            "format": FORMAT,
            "trial_id": trial_id,
            "evaluations": {evaluation: scores} if evaluation and scores else {},
            "semantic": {name: value for name, value in self.config.items() if name not in (ABOUT, *OWN)},
            **self.config.get(ABOUT, {}),
            **known,
            "status": Status(known.get("status", planned)),
        }

    def part(self, trial_id: str, columns: Sequence[str] | None) -> pd.DataFrame | None:
        """Its rows, scores aside."""
        if self.rows.empty:
            return None
        kept = [
            name
            for name in self.rows
            if name == "step" or (not str(name).startswith(TEST) and (columns is None or name in columns))
        ]
        part = self.rows[kept].copy()
        part.insert(0, "trial_id", trial_id)
        return part


def _is_about(name: str) -> bool:
    return name.startswith(f"{ABOUT}/")


def _table(runs: Mapping[str, _Run], evaluation_id: str, columns: Sequence[str] | None) -> pd.DataFrame:
    parts = [part for trial, run in runs.items() if (part := run.part(trial, columns)) is not None]
    scores = {trial: run.scores() for trial, run in runs.items() if run.evaluation_id == evaluation_id}
    return one_table(parts, {trial: found for trial, found in scores.items() if found}, columns)


def _flat(summary: Mapping[str, Any]) -> dict[str, Any]:
    """W&B gives a summary's nested values as objects of its own."""
    return {name: dict(value) if hasattr(value, "keys") else value for name, value in summary.items()}


def _read_all(paths: Sequence[Path]) -> list[RunFile]:
    if len(paths) < MANY_FILES:
        return [read_run(path) for path in paths]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("forkserver")) as pool:
        return list(pool.map(read_run, paths, chunksize=8))
