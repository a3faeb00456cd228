"""W&B as a kind of `Logs`: offline files or a project. Grids come from a ledger or archive."""

import json
import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

from ablate.errors import LedgerError
from ablate.records.grid import GridRecord
from ablate.records.logs import Logs, one_table
from ablate.records.schema import from_json
from ablate.records.trial import Status, TrainResult, TrialRecord
from ablate.records.wandb.run_files import read_run

# Keys that W&B adds to rows and configs.
OWN = ("_step", "_runtime", "_timestamp", "_wandb")
ABOUT, TEST = "ablate", "test/"
# Below `ABOUT`: the canonical form that the trial's id hashes, as JSON text.
SEMANTIC = "semantic"
RESULT = [field.name for field in fields(TrainResult)]
# From this many files on, starting processes saves time.
MANY_FILES = 100


@dataclass
class OfflineWandbLogs:
    """The offline runs below a folder, by trial id; see `Logs`.

    Attributes:
        folder: contains `run-<trial id>.wandb` at any depth, as a ledger does.
        declared: has the grids.
        problems: one message per damaged file.
    """

    folder: Path
    declared: Logs
    problems: list[str] = field(default_factory=list)
    _runs: dict[str, "_Run"] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """Where the logs are, for messages."""
        return f"W&B's offline files below {self.folder}"

    def grids(self) -> list[GridRecord]:
        """Return the grids of the ledger or archive."""
        return self.declared.grids()

    def record(self, trial_id: str) -> TrialRecord:
        """Return what W&B knows of a trial. Raises LedgerError if there is no run at all."""
        if trial_id not in self._runs:
            # A lesson asks for one trial after another; several processes read those of a grid together.
            self._read(self._siblings(trial_id))
        return self._runs[trial_id].record(trial_id)

    def history(
        self, trial_ids: Sequence[str], suites: Collection[str], columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return the table. Raises LedgerError if there is no run at all."""
        self._read(trial_ids)
        return _table({trial: self._runs[trial] for trial in trial_ids}, suites, columns)

    def documents(self, trial_id: str, suites: Collection[str]) -> None:
        """Return None: W&B keeps no scores of documents."""

    def programs(self, trial_id: str, suite: str) -> None:
        """Return None: W&B keeps no programs."""

    def _siblings(self, trial_id: str) -> list[str]:
        grids = [grid.trial_ids for grid in self.declared.grids()]
        return sorted({trial_id}.union(*(trials for trials in grids if trial_id in trials)))

    def _read(self, trial_ids: Iterable[str]) -> None:
        """Read the files of these trials, each once."""
        unread = [trial for trial in dict.fromkeys(trial_ids) if trial not in self._runs]
        if not unread:
            return
        if not self._paths:
            raise LedgerError(
                f"{self.folder}: contains no offline run of W&B. Trials write one each with tracking=offline, the "
                "default."
            )
        paths = [path for trial in unread for path in self._paths.get(trial, [])]
        read = dict(zip(paths, _read_all(paths), strict=True))
        self.problems += [problem for attempt in read.values() for problem in attempt.problems]
        for trial in unread:
            self._runs[trial] = _Run.of([read[path] for path in self._paths.get(trial, [])])

    @cached_property
    def _paths(self) -> dict[str, list[Path]]:
        """By trial, sorted by start time, from `offline-run-<time>-<id>` or `run-<time>-<id>`."""
        by_trial: dict[str, list[Path]] = {}
        paths = self.folder.glob("**/*run-*/run-*.wandb")
        for path in sorted(paths, key=lambda path: (path.parent.name.partition("run-")[2], path)):
            by_trial.setdefault(path.stem.removeprefix("run-"), []).append(path)
        return by_trial


@dataclass
class ProjectLogs:
    """A W&B project, by run id; see `Logs`. All points of a run are read, without sampling.

    Attributes:
        project: `entity/project`.
        declared: has the grids.
        api: W&B's API; created on first use.
        problems: one message per run that is missing.

    Raises:
        LedgerError: a project without its entity.
    """

    project: str
    declared: Logs
    api: Any = None
    problems: list[str] = field(default_factory=list)
    _runs: dict[str, "_Run"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a name that W&B would read in another way."""
        parts = self.project.split("/")
        if len(parts) != 2 or not all(parts):
            raise LedgerError(
                f"wandb={self.project}: use wandb=offline, or wandb=ENTITY/PROJECT as in the project's address."
            )

    @property
    def where(self) -> str:
        """Where the logs are, for messages."""
        return f"the W&B project {self.project}"

    def grids(self) -> list[GridRecord]:
        """Return the grids of the ledger or archive."""
        return self.declared.grids()

    def record(self, trial_id: str) -> TrialRecord:
        """Return what W&B knows of a trial. Raises LedgerError if the project cannot be read."""
        return self._run(trial_id).record(trial_id)

    def history(
        self, trial_ids: Sequence[str], suites: Collection[str], columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return the table. Raises LedgerError if the project cannot be read."""
        return _table({trial: self._run(trial) for trial in trial_ids}, suites, columns)

    def documents(self, trial_id: str, suites: Collection[str]) -> None:
        """Return None: W&B keeps no scores of documents."""

    def programs(self, trial_id: str, suite: str) -> None:
        """Return None: W&B keeps no programs."""

    def _run(self, trial_id: str) -> "_Run":
        if trial_id not in self._runs:
            attempts = [attempt for attempt in [self._attempt(trial_id)] if attempt]
            self.problems += [problem for attempt in attempts for problem in attempt.problems]
            self._runs[trial_id] = _Run.of(attempts)
        return self._runs[trial_id]

    def _attempt(self, trial_id: str) -> "_Attempt | None":
        import wandb

        address = f"{self.project}/{trial_id}"
        try:
            self.api = self.api or wandb.Api()
            run = self.api.run(address)
            config, summary, state = dict(run.config), dict(run.summary_metrics), run.state
            rows = [dict(row) for row in run.scan_history()]
        except Exception as error:  # Errors of W&B, its service and the network share no base class.
            if "could not find run" in str(error).lower():
                self.problems.append(
                    f"{address}: no such run. If the trial was offline, upload it: python -m ablate sync {trial_id} "
                    f"project={self.project}"
                )
                return None
            raise LedgerError(
                f"{self.where}: cannot be read ({error}). Check ENTITY/PROJECT, and log in: wandb login"
            ) from error
        if state == "running":
            # A resumed run still has the summary of its earlier attempt.
            summary.pop(f"{ABOUT}/status", None)
        return _Attempt.of(address, config, summary, rows)


@dataclass(frozen=True)
class _Attempt:
    """One W&B run: an attempt at a trial, or all attempts of an online trial.

    Attributes:
        about: status, evaluations and result, written when the attempt ended.
        rows: the log of the training.
    """

    config: Mapping[str, Any]
    about: Mapping[str, Any]
    rows: pd.DataFrame
    problems: Sequence[str] = ()

    @classmethod
    def of(
        cls, where: str, config: Mapping[str, Any], summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
    ) -> "_Attempt":
        about = {name.removeprefix(f"{ABOUT}/"): value for name, value in summary.items() if _is_about(name)}
        trained = [row for row in rows if any(_is_trained(name) for name in row)]
        table = pd.DataFrame(trained)
        if trained:
            table = table.rename(columns={"_step": "step"})
            table = table[[name for name in table if name == "step" or _is_trained(str(name))]]
            table["step"] = table["step"].astype("int64")
        unknown = (
            f"{where}: has test scores without ablate/evaluations, because its process was killed at the end. The "
            "scores are left out; the ledger has them."
        )
        is_scored = any(name.startswith(TEST) for row in rows for name in row)
        return cls(config, about, table, [unknown] if is_scored and "evaluations" not in about else [])


@dataclass(frozen=True)
class _Run:
    """A trial, from its attempts in order."""

    config: Mapping[str, Any]
    about: Mapping[str, Any]
    rows: pd.DataFrame
    evaluations: Mapping[str, Mapping[str, float]]
    status: Status

    @classmethod
    def of(cls, attempts: Sequence[_Attempt]) -> "_Run":
        config: dict[str, Any] = {}
        about: dict[str, Any] = {}
        evaluations: dict[str, Mapping[str, float]] = {}
        rows, status = pd.DataFrame(), Status.PENDING
        for attempt in attempts:
            config |= attempt.config
            about |= attempt.about
            evaluations |= attempt.about.get("evaluations", {})
            # A finished trial that is scored again stays finished, also if the scoring fails.
            if status != Status.FINISHED or not attempt.rows.empty:
                status = Status(attempt.about.get("status", Status.RUNNING))
            if rows.empty:
                rows = attempt.rows
            elif not attempt.rows.empty:
                # A later attempt resumes from a checkpoint and logs the steps after it again.
                kept = rows[rows["step"] < attempt.rows["step"].iloc[0]]
                rows = pd.concat([kept, attempt.rows], ignore_index=True)
        return cls(config, about, rows, evaluations, status)

    def record(self, trial_id: str) -> TrialRecord:
        has_result = "counters" in self.about
        described = dict(self.config.get(ABOUT, {}))
        # As text, because W&B changes numbers and cannot group by lists.
        semantic = json.loads(described.pop(SEMANTIC, "{}"))
        return from_json(
            TrialRecord,
            {
                "trial_id": trial_id,
                "status": self.status,
                "semantic": semantic,
                "result": {name: self.about[name] for name in RESULT if name in self.about} if has_result else None,
                "evaluations": self.evaluations,
                **described,
            },
        )

    def part(self, trial_id: str, columns: Sequence[str] | None) -> pd.DataFrame | None:
        """Return its rows without scores."""
        if self.rows.empty:
            return None
        part = self.rows[[name for name in self.rows if name == "step" or columns is None or name in columns]].copy()
        part.insert(0, "trial_id", trial_id)
        return part


def _is_about(name: str) -> bool:
    return name.startswith(f"{ABOUT}/")


def _is_trained(name: str) -> bool:
    return name not in OWN and not name.startswith(TEST)


def _table(runs: Mapping[str, _Run], suites: Collection[str], columns: Sequence[str] | None) -> pd.DataFrame:
    parts = [part for trial, run in runs.items() if (part := run.part(trial, columns)) is not None]
    scores = {trial: run.record(trial).scores(suites) for trial, run in runs.items()}
    return one_table(parts, scores, columns)


def _read_attempt(path: Path) -> _Attempt:
    file = read_run(path)
    attempt = _Attempt.of(str(path), file.config, file.summary(f"{ABOUT}/"), file.rows)
    # A file without an end also lacks the summary: that is one problem, not two.
    return replace(attempt, problems=[file.problem]) if file.problem else attempt


def _read_all(paths: Sequence[Path]) -> list[_Attempt]:
    if len(paths) >= MANY_FILES and _can_have_workers():
        # If a worker is killed, this process reads the files.
        with (
            suppress(BrokenProcessPool),
            ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("forkserver")) as pool,
        ):
            return list(pool.map(_read_attempt, paths, chunksize=8))
    return [_read_attempt(path) for path in paths]


def _can_have_workers() -> bool:
    """Whether workers may start: each imports the main module, so a plain script would run again."""
    main = sys.modules["__main__"]
    return getattr(main, "__spec__", None) is not None or not hasattr(main, "__file__")
