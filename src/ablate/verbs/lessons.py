"""`lessons`: print and rewrite the lessons of grids."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from ablate.console import counted, make_console
from ablate.errors import LedgerError, UsageError
from ablate.grid.grid import Grid
from ablate.grid.stale import stale_trials
from ablate.lessons.grid_results import GridResults
from ablate.lessons.lesson import Lesson
from ablate.records.grid import GridRecord
from ablate.records.ledger_logs import LedgerLogs
from ablate.records.tuning import TuningRecord
from ablate.reports.report import report
from ablate.scheduling.launcher import Launcher
from ablate.verbs import sources
from ablate.verbs.arguments import Arguments

if TYPE_CHECKING:
    from ablate.reports.tuning_section import TuningStudies
    from ablate.tuning.tuning import Tuning


def main(arguments: Arguments) -> int:
    """Report the grids or lessons of these names, or the newest grid; with --html, all.

    Raises:
        UsageError: no such grid.
        LedgerError: logs that cannot be read.
    """
    logs = sources.logs_of(arguments)
    grids = logs.grids()
    tunings = arguments.ledger.tunings() if "--html" in arguments.flags else []
    if not grids and not tunings:
        raise UsageError(f"{logs.where}: no grid was run here. Run one, or say where: runs_dir=PATH")
    console = make_console()
    tuning_ids = {name for name in arguments.names if name in {tuning.tuning_id for tuning in tunings}}
    chosen = [_named(grids, name, logs.where) for name in arguments.names if name not in tuning_ids]
    # An archive is kept as it was written.
    is_ledger = (arguments.ledger.runs_dir / "grids").is_dir()
    if "--html" in arguments.flags:
        of_all = [GridResults(logs, grid) for grid in (chosen if arguments.names else grids)]
        if arguments.names:
            wanted = tuning_ids | {one.grid.tuning.tuning_id for one in of_all if one.grid.tuning}
            tunings = [tuning for tuning in tunings if tuning.tuning_id in wanted]
        folder = arguments.ledger.runs_dir if is_ledger else Path()
        return _page(of_all, folder, console, sources.links(arguments, of_all), tunings)
    reported = [
        report(one, arguments.ledger.lesson_folder(one.grid_id) if is_ledger else None, console, stale_trials(one))
        for one in [GridResults(logs, grid) for grid in chosen or grids[:1]]
    ]
    for problem in getattr(logs, "problems", []):
        console.print(f"• {problem}", markup=False, soft_wrap=True)
    if not arguments.names and len(grids) > 1:
        console.print("\nOther grids here (ablate lessons GRID_ID):")
        for grid in grids[1:]:
            console.print(f"  {grid.grid_id}  {grid.command}", highlight=False)
    return 0 if all(reported) else 1


def _named(grids: Sequence[GridRecord], name: str, where: str) -> GridRecord:
    """The newest grid of this id or lesson's name."""
    for grid in grids:
        if name in (grid.grid_id, grid.declaration.name):
            return grid
    listed = "\n".join(f"  {grid.grid_id}  {grid.command}" for grid in grids)
    raise UsageError(f"{name}: no such grid below {where}. There are:\n{listed}")


def _page(
    results: Sequence[GridResults],
    folder: Path,
    console: Console,
    links: Mapping[str, str] | None = None,
    tunings: Sequence[TuningRecord] = (),
) -> int:
    """Write one page of these lessons and tunings. Returns 1, with the reasons, where there is none."""
    from ablate.reports.notes import lesson_or_gap
    from ablate.reports.page import write_page

    lessons: list[Lesson] = []
    for of_grid in results:
        lesson = lesson_or_gap(of_grid, stale_trials(of_grid))
        if isinstance(lesson, str):
            console.print(f"{of_grid.grid_id}: no lesson. {lesson}", markup=False, soft_wrap=True)
        else:
            lessons.append(lesson)
    tuned = _readable(tunings, folder, console)
    if not lessons and not tuned:
        return 1
    path = folder / "lessons.html"
    write_page(lessons, path, links, tuned)
    counts = [counted(len(lessons), "lesson")] + ([counted(len(tuned), "tuning")] if tuned else [])
    console.print(f"{', '.join(counts)}: {path}", soft_wrap=True, highlight=False)
    return 0


def _readable(tunings: Sequence[TuningRecord], runs_dir: Path, console: Console) -> "list[TuningStudies]":
    """The tunings whose studies can be read; for the others, print why not."""
    if not tunings:
        return []
    from ablate.records.optuna.studies import studies_of
    from ablate.reports.tuning_section import TuningStudies

    found = []
    for tuning in tunings:
        try:
            found.append(TuningStudies(tuning, studies_of(tuning, runs_dir)))
        except LedgerError as error:
            console.print(f"{tuning.tuning_id}: its studies are left out. {error}", markup=False, soft_wrap=True)
    return found


def of_tuning(tuning: "Tuning", names: list[str], launcher: Launcher, console: Console) -> int:
    """Report the grid of the tuned arms. Raises UsageError where they are not tuned, or were never run."""
    from ablate.tuning.run import plan_of_recorded

    return of_grid(plan_of_recorded(tuning), names, launcher, console)


def of_grid(plan: Grid, names: list[str], launcher: Launcher, console: Console) -> int:
    """Report the grid of these overrides. Raises UsageError where it was never run."""
    path = plan.ledger.grid_path(plan.grid_id)
    if not path.exists():
        raise UsageError(
            f"This grid ({plan.grid_id}) was not run below {plan.ledger.runs_dir}. {_earlier(plan)}"
            f"Run it first: {plan.command}"
        )
    results = GridResults(LedgerLogs(plan.ledger), plan.ledger.grid(plan.grid_id))
    if "--html" in names:
        wanted = plan.tuning and plan.tuning.tuning_id
        tunings = [tuning for tuning in plan.ledger.tunings() if tuning.tuning_id == wanted]
        return _page([results], plan.ledger.runs_dir, console, tunings=tunings)
    folder = plan.ledger.lesson_folder(plan.grid_id)
    return 0 if report(results, folder, console, stale_trials(results)) else 1


def _earlier(plan: Grid) -> str:
    """Say that a lesson of this name is stale, because it was run with other cells."""
    name = plan.declaration.name
    grids = plan.ledger.grids() if name else []
    for grid in grids:
        if grid.declaration.name == name:
            known = set(grid.trial_ids)
            changed = sum(trial not in known for trial in plan.trials)
            return (
                f"{name} was run as {grid.grid_id} and is stale: {changed} of its {len(plan.trials)} cells are "
                "others now (`ablate diff TRIAL` with these overrides says what changed), or its declaration is. "
            )
    return ""
