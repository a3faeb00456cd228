"""`lessons`: print and rewrite the lessons of grids."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from ablate.console import counted, listed, make_console, say
from ablate.errors import LedgerError, UsageError
from ablate.grid.grid import Grid
from ablate.grid.stale import stale_trials
from ablate.lessons.grid_results import GridResults
from ablate.records.grid import GridRecord
from ablate.records.ledger import Ledger
from ablate.records.ledger_logs import LedgerLogs
from ablate.records.logs import Logs
from ablate.records.tuning import TuningRecord
from ablate.reports.report import report
from ablate.scheduling.launcher import Launcher
from ablate.verbs.arguments import Arguments, grid_named
from ablate.verbs.json_output import print_json
from ablate.verbs.table import PROGRAM

if TYPE_CHECKING:
    from ablate.reports.tuning_section import TuningStudies
    from ablate.tuning.tuning import Tuning


def main(arguments: Arguments) -> int:
    """Report the grids or lessons of these names, or the newest grid; with --html, all.

    Raises UsageError, LedgerError.
    """
    logs, names, runs_dir = arguments.logs, arguments.names, arguments.ledger.runs_dir
    is_page = "--html" in arguments.flags
    grids, tunings = logs.grids(), arguments.ledger.tunings(logs.problems) if is_page else []
    if not grids and not tunings:
        raise UsageError(f"{logs.where}: no grid was run here. Run one, or say where: runs_dir=PATH")
    # Nothing is written into an archive.
    is_ledger = (runs_dir / "grids").is_dir()
    tuning_ids = {tuning.tuning_id for tuning in tunings}.intersection(names)
    chosen = [grid_named(grids, name, logs.where) for name in names if name not in tuning_ids]
    if is_page:
        results = [GridResults(logs, grid) for grid in (chosen if names else grids)]
        if names:
            tuning_ids |= {grid.tuning.tuning_id for grid in chosen if grid.tuning}
            tunings = [tuning for tuning in tunings if tuning.tuning_id in tuning_ids]
        folder = runs_dir if is_ledger else Path()
        return _page(results, folder, make_console(), tunings, arguments.settings.get("wandb", "offline"))
    if "--json" in arguments.flags:
        return _print_json(logs, chosen or grids[:1])
    console = make_console()
    if not names and len(grids) > 1:
        # Above the lesson, because the verdicts come last.
        others = [grid.declaration.name or grid.grid_id for grid in grids[1:]]
        say(console, f"The newest of {len(grids)} grids. Others ({PROGRAM} lessons NAME): {listed(others)}")
    with_notes = "--notes" in arguments.flags
    return _print(logs, chosen or grids[:1], arguments.ledger if is_ledger else None, console, with_notes=with_notes)


def of_tuning(tuning: "Tuning", names: list[str], launcher: Launcher, console: Console) -> int:
    """Report the grid of the tuned arms. Raises UsageError if they are not tuned or were never run."""
    from ablate.tuning.run import recorded_grid

    return of_grid(recorded_grid(tuning), names, launcher, console)


def of_grid(grid: Grid, names: list[str], launcher: Launcher, console: Console) -> int:
    """Report the grid of these overrides. Raises UsageError if it was never run."""
    ledger = grid.ledger
    if not ledger.grid_path(grid.grid_id).exists():
        raise UsageError(
            f"This grid ({grid.grid_id}) was not run below {ledger.runs_dir}. {_earlier(grid)}"
            f"Run it first: {grid.command}"
        )
    logs, record = LedgerLogs(ledger), ledger.grid(grid.grid_id)
    if "--json" in names:
        return _print_json(logs, [record])
    if "--html" not in names:
        return _print(logs, [record], ledger, console, with_notes="--notes" in names)
    tuning_id = grid.tuning and grid.tuning.tuning_id
    tunings = [tuning for tuning in ledger.tunings(logs.problems) if tuning.tuning_id == tuning_id]
    return _page([GridResults(logs, record)], ledger.runs_dir, console, tunings)


def _print(
    logs: Logs, grids: Sequence[GridRecord], ledger: Ledger | None, console: Console, *, with_notes: bool
) -> int:
    """Print lessons, and write their files into the ledger. Returns 1 if a grid has no lesson."""
    code = 0
    for grid in grids:
        results = GridResults(logs, grid)
        folder = ledger.lesson_folder(grid.grid_id) if ledger else None
        if folder is not None and not isinstance(logs, LedgerLogs):
            # A mirror may have less than the ledger, whose files stay.
            folder /= "wandb"
        if report(results, folder, console, stale_trials(results), with_notes=with_notes) is None:
            code = 1
    _print_problems(logs, console)
    return code


def _print_json(logs: Logs, grids: Sequence[GridRecord]) -> int:
    """Print lessons as JSON and write nothing. Returns 1 if a grid has no lesson."""
    from ablate.reports.lesson_json import LessonsJson, lesson_json

    of_grids = [GridResults(logs, grid) for grid in grids]
    lessons = tuple(lesson_json(results, stale_trials(results)) for results in of_grids)
    print_json(LessonsJson("ablate/lessons", 1, lessons, tuple(_problems(logs))))
    return 1 if any(lesson.no_lesson for lesson in lessons) else 0


def _problems(logs: Logs) -> list[str]:
    # A mirror has its grids from a ledger, whose records may be damaged, too.
    declared = getattr(logs, "declared", None)
    return [*logs.problems, *(declared.problems if declared else [])]


def _print_problems(logs: Logs, console: Console) -> None:
    for problem in _problems(logs):
        say(console, f"• {problem}")


def _page(
    results: Sequence[GridResults],
    folder: Path,
    console: Console,
    tunings: Sequence[TuningRecord],
    source: str = "offline",
) -> int:
    """Write one page of lessons and tunings, with links to a W&B project. Returns 1 if there is nothing to write."""
    from ablate.records.wandb.logs import OfflineWandbLogs, ProjectLogs
    from ablate.reports.page import write_page
    from ablate.reports.wording import lesson_or_gap

    lessons = []
    for of_grid in results:
        lesson = lesson_or_gap(of_grid, stale_trials(of_grid))
        if isinstance(lesson, str):
            say(console, f"{of_grid.grid_id}: no lesson. {lesson}")
        else:
            lessons.append(lesson)
    if results:
        _print_problems(results[0].logs, console)
    studies = _studies(tunings, folder, console)
    if not lessons and not studies:
        return 1
    trials = [trial for of_grid in results for trial in of_grid.records] if source != "offline" else []
    is_mirror = bool(results) and isinstance(results[0].logs, OfflineWandbLogs | ProjectLogs)
    path = folder / ("lessons-wandb.html" if is_mirror else "lessons.html")
    write_page(lessons, path, {trial: f"https://wandb.ai/{source}/runs/{trial}" for trial in trials}, studies)
    counts = [counted(len(lessons), "lesson")] + ([counted(len(studies), "tuning")] if studies else [])
    say(console, f"{', '.join(counts)}: {path}")
    return 0


def _studies(tunings: Sequence[TuningRecord], runs_dir: Path, console: Console) -> "list[TuningStudies]":
    """Return the tunings with readable studies, and print why others are left out."""
    if not tunings:
        return []
    from ablate.records.optuna.studies import studies_of
    from ablate.reports.tuning_section import TuningStudies

    readable = []
    for tuning in tunings:
        try:
            readable.append(TuningStudies(tuning, studies_of(tuning, runs_dir)))
        except LedgerError as error:
            say(console, f"{tuning.tuning_id}: its studies are left out. {error}")
    return readable


def _earlier(grid: Grid) -> str:
    """Say that a lesson of this name is stale, because it was run with other cells."""
    name = grid.declaration.name
    for record in grid.ledger.grids([]) if name else []:
        if record.declaration.name == name:
            changed = len(grid.trials.keys() - record.trial_ids)
            return (
                f"{name} was run as {record.grid_id} and is stale: {changed} of its {len(grid.trials)} trials or its "
                f"declaration changed (`{PROGRAM} diff TRIAL` with these overrides shows how). "
            )
    return ""
