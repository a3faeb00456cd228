"""`status`: how far each trial of a ledger is."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from ablate.console import clock, make_console, short
from ablate.errors import LedgerError, UsageError
from ablate.grid.job import DIED
from ablate.grid.plan import Plan
from ablate.grid.run import Launch
from ablate.records.ledger import Ledger, Status, TrialFolder
from ablate.records.metrics import last_metrics
from ablate.verbs.arguments import Arguments, trial_named

if TYPE_CHECKING:
    from ablate.tuning.loop import Launch as LaunchAsTheyCome
    from ablate.tuning.tuning import Sweep

FLAGS = {
    "--json": "a list of objects, for programs",
    "--once": "prints once, also while trials run",
    "--all": "every finished trial, however many",
}
MOST_FINISHED = 20
LOOK_SECONDS = 2.0
ORDER = [Status.RUNNING, Status.FAILED, Status.DIVERGED, Status.PENDING, Status.PRUNED, Status.FINISHED]
STYLES = {Status.RUNNING: "cyan", Status.FAILED: "red", Status.DIVERGED: "magenta", Status.FINISHED: "green"}


@dataclass(frozen=True)
class TrialStatus:
    """One trial, as `--json` prints it.

    Attributes:
        options: what its first grid swept, and its seed.
        progress: share of the budget that is spent, as far as it is logged.
        checkpoint_step: from which it would go on; None for the beginning.
        host: where the newest attempt runs or ran.
        failure: the message of what ended it.
        scores: metrics by evaluation id.
    """

    trial_id: str
    status: str
    options: dict[str, str]
    choices: dict[str, str]
    first_grid: str | None
    progress: float
    step: int | None
    train_loss: float | None
    train_tokens_per_second: float | None
    seconds_left: float | None
    checkpoint_step: int | None
    attempts: int
    host: str | None
    failure: str | None
    started_at: float | None
    finished_at: float | None
    scores: dict[str, dict[str, float]]

    @classmethod
    def of(cls, folder: TrialFolder) -> "TrialStatus":
        """What one look tells; nothing is written."""
        record = folder.record()
        status, attempts = Status(record["status"]), record["attempts"]
        failure = (record.get("failure") or {}).get("message")
        is_running = status == Status.RUNNING
        if is_running and not folder.is_held:
            # Whoever runs a grid will say so in the record; a reader does not write.
            status = Status.FINISHED if record.get("is_scoring") else Status.FAILED
            failure, is_running = DIED, False
        is_done = status == Status.FINISHED
        newest = {} if is_done or not attempts else last_metrics(folder.metrics_path)
        progress = 1.0 if is_done else float(newest.get("progress", 0.0))
        seconds = newest.get("speed/training_seconds")
        return cls(
            trial_id=folder.trial_id,
            status=status.value,
            options=record.get("options", {}),
            choices=record.get("choices", {}),
            first_grid=record.get("first_grid"),
            progress=progress,
            step=record["counters"]["steps"] if is_done and "counters" in record else newest.get("step"),
            train_loss=newest.get("train/loss"),
            train_tokens_per_second=newest.get("speed/train_tokens_per_second") if is_running else None,
            seconds_left=seconds * (1 - progress) / progress if is_running and seconds and progress else None,
            checkpoint_step=None if is_done else folder.checkpoints.newest_step,
            attempts=len(attempts),
            host=attempts[-1]["host"].split()[0] if attempts else None,
            failure=failure,
            started_at=record.get("started_at"),
            finished_at=record.get("finished_at"),
            scores=record["evaluations"],
        )


def main(arguments: Sequence[str]) -> int:
    """Shows trials by id, of grids and sweeps by id, or all. Raises UsageError."""
    given = Arguments.of(
        "status", arguments, FLAGS, "ids of trials, grids or sweeps and runs_dir=PATH, or with -m a grid's overrides"
    )
    folders = [folder for name in given.names for folder in _named(given.ledger, name)]

    def look() -> Iterable[TrialFolder]:
        return folders if given.names else given.ledger.trials()

    _show(look, given.ledger, given.flags, make_console())
    return 0


def of_grid(plan: Plan, names: list[str], launch: Launch, console: Console) -> int:
    """Shows the trials of a grid, also those that were never planned."""
    _show(lambda: [plan.ledger.trial(trial) for trial in plan.trials], plan.ledger, frozenset(names), console)
    return 0


def of_sweep(
    sweep: "Sweep", names: list[str], launch_as_they_come: "LaunchAsTheyCome", launch: Launch, console: Console
) -> int:
    """Shows the trials that the sweep asked for, and those of its tuned arms as soon as there are some."""
    _show(lambda: _of_sweep(sweep.ledger, sweep.sweep_id), sweep.ledger, frozenset(names), console)
    return 0


def _of_sweep(ledger: Ledger, sweep_id: str) -> list[TrialFolder]:
    """What it proposed, and the trials of its tuned arms."""
    from ablate.records.optuna.studies import studies_of

    proposed: set[str] = set()
    if ledger.sweep_path(sweep_id).exists():
        for study in studies_of(ledger.sweep(sweep_id), ledger.runs_dir).values():
            proposed |= {one.user_attrs["trial_id"] for one in study.get_trials() if "trial_id" in one.user_attrs}
    grids = [ledger.grid(path.stem) for path in ledger.grids()]
    tuned = [grid for grid in grids if grid.get("sweep", {}).get("sweep_id") == sweep_id]
    proposed |= {folder.trial_id for grid in tuned for folder in ledger.trials_of(grid)}
    return [ledger.trial(trial) for trial in sorted(proposed)]


def _named(ledger: Ledger, name: str) -> list[TrialFolder]:
    if ledger.sweep_path(name).exists():
        return _of_sweep(ledger, name)
    try:
        return ledger.trials_of(ledger.grid(name))
    except FileNotFoundError:
        return [trial_named(ledger, name)]


def _show(look: Callable[[], Iterable[TrialFolder]], ledger: Ledger, flags: frozenset[str], console: Console) -> None:
    if unknown := flags - FLAGS.keys():
        raise UsageError(f"status: {', '.join(sorted(unknown))}: no such flag.")
    found = [TrialStatus.of(folder) for folder in look()]
    if "--json" in flags:
        json.dump([asdict(one) for one in found], sys.stdout, indent=1, ensure_ascii=False)
        print()
        return
    runs = any(one.status == Status.RUNNING for one in found)
    if not runs or "--once" in flags or not console.is_terminal:
        console.print(_view(found, ledger, is_whole="--all" in flags))
        return
    with Live(_view(found, ledger, is_whole=False), console=console, auto_refresh=False) as live:
        while any(one.status == Status.RUNNING for one in found):
            time.sleep(LOOK_SECONDS)
            try:
                found = [TrialStatus.of(folder) for folder in look()]
            except (OSError, LedgerError):
                # A share that hiccups costs a look.
                continue
            live.update(_view(found, ledger, is_whole=False), refresh=True)


def _view(found: list[TrialStatus], ledger: Ledger, *, is_whole: bool) -> Group:
    counts = Counter(one.status for one in found)
    told = ", ".join(f"{counts[status]:,} {status}" for status in ORDER if counts[status]) or "nothing yet"
    noun = "trial" if len(found) == 1 else "trials"
    head = f"{len(found):,} {noun}: {told}. Ledger: {escape(str(ledger.runs_dir))}"
    table = Table(box=None, pad_edge=False, header_style="dim")
    for header in ("trial", "options", "state", "at", "loss", "tokens/s", "left"):
        is_number = header in ("at", "loss", "tokens/s", "left")
        table.add_column(header, justify="right" if is_number else "left", overflow="fold", no_wrap=header == "trial")
    found = sorted(found, key=lambda one: (ORDER.index(Status(one.status)), one.first_grid or "", one.trial_id))
    others = [one for one in found if one.status != Status.FINISHED]
    finished = found[len(others) :]
    shown = finished if is_whole else finished[:MOST_FINISHED]
    for one in [*others, *shown]:
        style = STYLES.get(Status(one.status), "")
        table.add_row(
            one.trial_id,
            escape(" ".join(f"{key}={value}" for key, value in one.options.items())),
            f"[{style}]{one.status}[/]" if style else one.status,
            "" if one.status == Status.FINISHED else f"{one.progress:.0%}",
            "" if one.train_loss is None else f"{one.train_loss:.3f}",
            "" if one.train_tokens_per_second is None else short(one.train_tokens_per_second),
            "" if one.seconds_left is None else clock(one.seconds_left),
        )
    lines = [head, table] if found else [head]
    if len(shown) < len(finished):
        lines.append(f"… and {len(finished) - len(shown):,} more that are finished (--all)")
    told_of: set[str] = set()
    for one in others:
        if one.failure and one.failure not in told_of:
            told_of.add(one.failure)
            lines.append(f"[dim]{one.trial_id}[/] {one.status}: {escape(one.failure.splitlines()[0])}")
    return Group(*lines)
