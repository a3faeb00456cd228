"""`status`: each trial's state, progress, loss and ETA."""

import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ablate.console import clock, counted, make_console, short
from ablate.errors import LedgerError
from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.metrics import last_metrics
from ablate.records.trial import Status, Submission, TrialRecord
from ablate.scheduling.launcher import JobState, Phase
from ablate.scheduling.launchers import submission_state
from ablate.scheduling.reconcile import as_reconciled
from ablate.verbs.arguments import Arguments, trials_named, trials_of_tuning
from ablate.verbs.json_output import print_json

if TYPE_CHECKING:
    from ablate.grid.grid import Grid
    from ablate.scheduling.launcher import Launcher
    from ablate.tuning.tuning import Tuning

# Of trials of which one row says what the next one says, so many are listed.
MOST_ALIKE = 20
ALIKE = (Status.SUBMITTED, Status.FINISHED)
# Of so few trials the logs are listed, too.
MOST_LOGS = 4
LOOK_SECONDS = 2.0
DAMAGED = "damaged"
# Each status in the order of the table, with its colour.
STYLES = {
    Status.RUNNING: "cyan",
    Status.SUBMITTED: "",
    DAMAGED: "red",
    Status.FAILED: "red",
    Status.DIVERGED: "magenta",
    Status.PENDING: "",
    Status.PRUNED: "",
    Status.FINISHED: "green",
}
ORDER = list(STYLES)
# Of the log's newest row, while a trial runs.
SPEEDS = ("train_tokens_per_second", "train_tokens_per_second_per_device", "mfu_visible_pairs", "mfu_all_pairs")


@dataclass(frozen=True)
class TrialStatus:
    """One trial, as `--json` prints it.

    Attributes:
        status: a `Status`, or `damaged`.
        options: the swept options of its first grid, and its seed.
        progress: the fraction of the budget that is spent.
        checkpoint_step: where it would resume; None for the beginning.
        host: the machine of the newest attempt.
        launcher: of the job that runs the trial or is to run it.
        job: the cluster's number of this job.
        reason: why it waits, in the cluster's words.
        nodes: where it runs.
        logs: the output of its processes.
        failure: the message of the error that ended it, or what is wrong with a damaged record.
        scores: metrics by suite id.
    """

    trial_id: str
    status: str
    options: Mapping[str, str]
    choices: Mapping[str, str]
    first_grid: str | None
    progress: float
    step: int | None
    train_loss: float | None
    train_tokens_per_second: float | None
    train_tokens_per_second_per_device: float | None
    mfu_visible_pairs: float | None
    mfu_all_pairs: float | None
    seconds_left: float | None
    checkpoint_step: int | None
    attempts: int
    host: str | None
    launcher: str | None
    job: str | None
    reason: str | None
    nodes: str | None
    logs: tuple[str, ...]
    failure: str | None
    started_at: float | None
    finished_at: float | None
    scores: Mapping[str, Mapping[str, float | None]]

    @classmethod
    def of(cls, folder: TrialFolder) -> "TrialStatus":
        """Read a trial's record and log. Writes nothing."""
        readable = folder.record_or_problem()
        problem, record = (readable, TrialRecord(folder.trial_id)) if isinstance(readable, str) else (None, readable)
        # The next command that runs the grid records it.
        record = as_reconciled(folder, record)
        status, attempts = DAMAGED if problem else record.status, record.attempts
        failure = record.failure.message if record.failure else problem
        is_running, is_done = status == Status.RUNNING, status == Status.FINISHED
        newest = {} if is_done or not attempts else last_metrics(folder.metrics_path)
        progress = 1.0 if is_done else float(newest.get("progress", 0.0))
        seconds = newest.get("speed/training_seconds")
        submission, job = _job_of(record, folder.path.parent)
        return cls(
            trial_id=folder.trial_id,
            status=str(status),
            options=record.options,
            choices=record.choices,
            first_grid=record.first_grid,
            progress=progress,
            step=record.result.counters.steps if is_done and record.result else newest.get("step"),
            train_loss=newest.get("train/loss"),
            **{name: newest.get(f"speed/{name}") if is_running else None for name in SPEEDS},
            seconds_left=seconds * (1 - progress) / progress if is_running and seconds and progress else None,
            checkpoint_step=None if is_done else folder.checkpoints.newest_step,
            attempts=len(attempts),
            host=attempts[-1].host.split()[0] if attempts else None,
            launcher=submission.launcher if submission else None,
            job=job.number or None,
            reason=(job.detail or None) if job.phase != Phase.RUNNING else None,
            nodes=job.nodes or None,
            logs=tuple(str(path) for path in _logs(folder)),
            failure=failure,
            started_at=record.started_at,
            finished_at=record.finished_at,
            scores=record.evaluations,
        )


def _job_of(record: TrialRecord, runs_dir: Path) -> tuple[Submission | None, JobState]:
    """Return the job that runs a trial or is to run it, and its state as its launcher tells it."""
    if record.job is None:
        return None, JobState(Phase.UNKNOWN)
    return record.job, submission_state(record.job, runs_dir)


def _logs(folder: TrialFolder) -> list[Path]:
    """Return the output of a trial's processes: its workers, then each rank that a cluster started."""
    paths = [folder.log_path, *sorted(folder.path.glob("rank-*.log"))]
    return [path for path in paths if path.exists()]


@dataclass(frozen=True)
class StatusJson:
    """What `status --json` prints."""

    schema: Literal["ablate/status"]
    version: Literal[1]
    trials: tuple[TrialStatus, ...]


def main(arguments: Arguments) -> int:
    """Show the trials with these ids (of trials, grids or tunings), or all. Raises UsageError."""
    ledger = arguments.ledger
    folders = [folder for name in arguments.names for folder in trials_named(ledger, name)]
    _show(lambda: folders if arguments.names else ledger.trials(), ledger, arguments.flags, make_console())
    return 0


def of_grid(grid: "Grid", names: list[str], launcher: "Launcher", console: Console) -> int:
    """Show the trials of a grid, including those that are not in the ledger yet."""
    _show(lambda: [grid.ledger.trial(trial) for trial in grid.trials], grid.ledger, names, console)
    return 0


def of_tuning(tuning: "Tuning", names: list[str], launcher: "Launcher", console: Console) -> int:
    """Show a tuning's candidates, and the trials of its tuned arms once there are some."""
    _show(lambda: trials_of_tuning(tuning.ledger, tuning.tuning_id), tuning.ledger, names, console)
    return 0


def _show(look: Callable[[], Iterable[TrialFolder]], ledger: Ledger, flags: Container[str], console: Console) -> None:
    trials = [TrialStatus.of(folder) for folder in look()]
    if "--json" in flags:
        print_json(StatusJson("ablate/status", 1, tuple(trials)))
        return
    if not _is_any_running(trials) or "--once" in flags or not console.is_terminal:
        console.print(_view(trials, ledger, is_whole="--all" in flags))
        return
    with Live(_view(trials, ledger, is_whole=False), console=console, auto_refresh=False) as live:
        while _is_any_running(trials):
            time.sleep(LOOK_SECONDS)
            try:
                trials = [TrialStatus.of(folder) for folder in look()]
            except (OSError, LedgerError):
                # A network file system may fail briefly.
                continue
            live.update(_view(trials, ledger, is_whole=False), refresh=True)


def _is_any_running(trials: Iterable[TrialStatus]) -> bool:
    return any(trial.status == Status.RUNNING for trial in trials)


def _view(trials: list[TrialStatus], ledger: Ledger, *, is_whole: bool) -> Group:
    counts = Counter(trial.status for trial in trials)
    by_status = ", ".join(f"{counts[status]:,} {status}" for status in ORDER if counts[status]) or "nothing yet"
    head = f"{counted(len(trials), 'trial')}: {by_status}. Ledger: {escape(str(ledger.runs_dir))}"
    table = Table(box=None, pad_edge=False, header_style="dim")
    has_mfu = any(trial.mfu_visible_pairs is not None for trial in trials)
    has_jobs = any(trial.job is not None for trial in trials)
    left_out = (set() if has_mfu else {"MFU"}) | (set() if has_jobs else {"job", "where"})
    for header in ("trial", "options", "state", "job", "where", "progress", "loss", "tokens/s", "MFU", "ETA"):
        if header in left_out:
            continue
        is_number = header in ("progress", "loss", "tokens/s", "MFU", "ETA")
        table.add_column(header, justify="right" if is_number else "left", overflow="fold", no_wrap=header == "trial")
    trials = sorted(trials, key=lambda trial: (ORDER.index(trial.status), trial.first_grid or "", trial.trial_id))
    others = [trial for trial in trials if trial.status != Status.FINISHED]
    hidden: Counter[str] = Counter()
    for number, trial in enumerate(trials):
        is_early = number < MOST_ALIKE or trials[number - MOST_ALIKE].status != trial.status
        if not (is_whole or is_early or trial.status not in ALIKE):
            hidden[trial.status] += 1
            continue
        table.add_row(
            trial.trial_id,
            escape(" ".join(f"{key}={value}" for key, value in trial.options.items())),
            Text(trial.status, STYLES[trial.status]),
            *([trial.job or "", escape(trial.nodes or trial.reason or "")] if has_jobs else []),
            "" if trial.status == Status.FINISHED else f"{trial.progress:.0%}",
            "" if trial.train_loss is None else f"{trial.train_loss:.3f}",
            "" if trial.train_tokens_per_second is None else short(trial.train_tokens_per_second),
            *([] if not has_mfu else ["" if trial.mfu_visible_pairs is None else f"{trial.mfu_visible_pairs:.1%}"]),
            "" if trial.seconds_left is None else clock(trial.seconds_left),
        )
    lines = [head, table] if trials else [head]
    lines += [f"… and {count:,} more {status} trials (--all)" for status, count in hidden.items()]
    # Each message once, with the first trial that has it.
    failures = {trial.failure: trial for trial in reversed(others) if trial.failure}
    for failure, trial in reversed(failures.items()):
        lines.append(f"[dim]{trial.trial_id}[/] {trial.status}: {escape(str(failure).splitlines()[0])}")
    if len(trials) <= MOST_LOGS:
        lines += [f"[dim]{trial.trial_id}[/] log: {escape(path)}" for trial in others for path in trial.logs]
    return Group(*lines)
