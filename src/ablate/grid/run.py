"""Run what a grid is missing, and report its lesson."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablate.config.trial import TrialConfig
from ablate.console import counted, say, short
from ablate.grid.cell import Cell
from ablate.grid.grid import Grid
from ablate.grid.source import GridSource
from ablate.records.trial import Status
from ablate.scheduling.job import Job, Resources
from ablate.scheduling.launcher import Launcher
from ablate.scheduling.processes import start_server
from ablate.scheduling.report import report_unfinished, resume_text
from ablate.scheduling.scheduler import Scheduler

if TYPE_CHECKING:
    from ablate.lessons.lesson import Lesson

MOST_ROWS = 40


def run(grid: Grid, launcher: Launcher, console: Console, *, detach: bool = False) -> int:
    """Run the missing trials and report the lesson.

    Args:
        launcher: runs the missing trials.
        detach: submit them and return.

    Returns:
        The exit code: 1 if a trial failed or is missing, or if the arms cannot be compared.
    """
    grid.ledger.check_writable()
    if detach and (missing := grid.missing()):
        _prepare(grid, missing, launcher, console)
        say(console, Scheduler(launcher, console).detach(GridSource(grid, missing)))
        return 0
    # Looks that an earlier command has passed are not repeated.
    while True:
        complete = _run_look(grid, launcher, console)
        lesson = _report(grid, console)
        if lesson is None or not complete:
            return 1
        grid.record_look(lesson.look())
        later = None if lesson.is_decided else grid.next_look(lesson.undecided_arms)
        if later is None:
            return 0
        arms = [arm.label for arm in later.arms if arm.label not in later.stopped]
        console.print(
            f"\n[bold]Look at {grid.seeds} seeds:[/] some comparisons are undecided; adding seeds to "
            f"{escape(', '.join(arms)) if later.stopped else 'every arm'}.",
            highlight=False,
        )
        grid = later


def _run_look(grid: Grid, launcher: Launcher, console: Console) -> bool:
    """Run what this look is missing; return whether nothing is missing afterwards."""
    missing = grid.missing()
    _prepare(grid, missing, launcher, console)
    if not missing:
        return True
    Scheduler(launcher, console).run(GridSource(grid, missing))
    unfinished = {trial_id: cell.label for trial_id, cell in grid.missing().items()}
    report_unfinished(unfinished, len(grid.trials), grid.ledger, console)
    return not unfinished


def _prepare(grid: Grid, missing: dict[str, Cell], launcher: Launcher, console: Console) -> None:
    """Show the grid, make the data of the missing trials, and freeze them."""
    show_cells(grid, missing, console)
    _tell_of_uploads(grid, missing, console)
    if missing:
        if not launcher.outlives_command:
            # The server imports while the data is prepared.
            start_server()
        prepare_data([cell.trial for cell in missing.values()], console)
    grid.freeze(missing)


def scripts(grid: Grid, launcher: Launcher) -> str:
    """Return what the launcher would submit for the missing trials."""
    runs_dir = grid.ledger.runs_dir
    missing = grid.missing().items()
    return launcher.preview(
        [Job(trial, runs_dir, resources=Resources.of(cell.trial.hardware)) for trial, cell in missing]
    )


def _tell_of_uploads(grid: Grid, missing: dict[str, Cell], console: Console) -> None:
    finished = len(grid.trials) - len(missing)
    if finished and grid.cells[0].trial.tracking.wandb == "online":
        say(
            console,
            f"tracking=online uploads trials that run; {finished} finished before. To upload those: "
            f"python -m ablate sync {grid.declaration.name or ' '.join(grid.trials.keys() - missing)}",
        )


def _report(grid: Grid, console: Console) -> "Lesson | None":
    from ablate.grid.stale import stale_trials
    from ablate.lessons.grid_results import GridResults
    from ablate.records.ledger_logs import LedgerLogs
    from ablate.reports.report import report

    results = GridResults(LedgerLogs(grid.ledger), grid.ledger.grid(grid.grid_id))
    return report(results, grid.ledger.lesson_folder(grid.grid_id), console, stale_trials(results))


def show_cells(grid: Grid, missing: dict[str, Cell], console: Console) -> None:
    """Print the grid as a table: a row per cell, or per arm where there are many cells."""
    total = sum(cell.trial.budget.train_tokens for cell in missing.values())
    shape = f"{counted(len(grid.arms), 'arm')} × {'up to ' if grid.stopped else ''}{counted(grid.seeds, 'seed')}"
    work = f"{len(missing)} to run" + (f" ({short(total)} tokens)" if missing else "")
    heading = f"[bold]Grid {grid.grid_id}[/]: {shape}, {counted(len(grid.trials), 'trial')}, {work}."
    say(console, f"{heading} Ledger: {escape(str(grid.ledger.runs_dir))}", markup=True)
    per_cell = len(grid.cells_of_look) <= MOST_ROWS
    table = Table(box=None, pad_edge=False, header_style="dim")
    for header in ["arm", "seed", "trial", "state"] if per_cell else ["arm", "trials", "state"]:
        table.add_column(header)
    for arm in grid.arms[:MOST_ROWS]:
        alias = f"[dim]same trial as {escape(arm.same_as)}[/]" if arm.same_as else ""
        if per_cell:
            for seed, trial in arm.trials.items():
                table.add_row(escape(arm.label), seed, trial, alias or _state(grid, trial, missing))
        else:
            to_run = sum(trial in missing for trial in arm.trials.values())
            table.add_row(escape(arm.label), str(len(arm.trials)), alias or (f"{to_run} to run" if to_run else "done"))
    console.print(table)
    if len(grid.arms) > MOST_ROWS:
        console.print(f"… and {len(grid.arms) - MOST_ROWS} more arms")


def _state(grid: Grid, trial: str, missing: dict[str, Cell]) -> str:
    folder = grid.ledger.trial(trial)
    status = folder.status
    if trial not in missing:
        return f"[green]{status}[/]"
    if folder.is_locked:
        return "run by another process"
    return f"[red]failed before; {resume_text(folder)}[/]" if status == Status.FAILED else resume_text(folder)


def prepare_data(trials: Iterable[TrialConfig], console: Console) -> None:
    """Make the token shards once, before trials that run at the same time would each make them.

    Raises:
        UsageError: a budget that its text does not allow, before a trial starts.
        FailureError: data that can't be made or read.
    """
    from ablate.data.batches.stream import Stream
    from ablate.data.corpus.progress import shown_progress
    from ablate.data.tokens.shards import open_shards, shard_folder

    def reads(trial: TrialConfig) -> object:
        return shard_folder(trial), repr(trial.mixture), trial.budget_rows, trial.scale.window_tokens, trial.data_seed

    for trial in {reads(trial): trial for trial in trials}.values():
        if not shard_folder(trial).is_dir():
            console.print("Reading the corpus, training the tokenizer, writing token shards …")
        with shown_progress() as progress:
            shards = open_shards(trial, progress)
        Stream(shards, trial)
