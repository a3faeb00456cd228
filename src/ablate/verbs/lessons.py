"""`lessons`: prints and writes again what grids found."""

from collections.abc import Sequence

from rich.console import Console

from ablate.errors import UsageError
from ablate.grid.plan import Plan
from ablate.grid.run import Launch, make_console
from ablate.lessons.grid_results import GridResults
from ablate.lessons.report import report
from ablate.verbs.arguments import Arguments


def main(arguments: Sequence[str]) -> int:
    """Reports the grids with these ids, or the newest one.

    Raises:
        UsageError: no such grid, or nothing that this verb knows.
    """
    takes = "grid ids and runs_dir=PATH, or with -m a grid's overrides"
    given = Arguments.of("lessons", arguments, {}, takes)
    grids = {path.stem: GridResults.load(given.ledger, path) for path in given.ledger.grids()}
    if not grids:
        raise UsageError(f"{given.ledger.runs_dir}: no grid was run here. Run one, or say where: runs_dir=PATH")
    console = make_console()
    for name in given.names:
        if name not in grids:
            listed = "\n".join(f"  {grid_id}  {results.grid['command']}" for grid_id, results in grids.items())
            raise UsageError(f"{name}: no such grid below {given.ledger.runs_dir}. There are:\n{listed}")
    newest, *others = grids
    reported = [report(grids[name], console) for name in given.names or [newest]]
    if not given.names and others:
        console.print("\nOther grids here (python -m ablate lessons GRID_ID):")
        for grid_id in others:
            console.print(f"  {grid_id}  {grids[grid_id].grid['command']}", highlight=False)
    return 0 if all(reported) else 1


def of_grid(plan: Plan, names: list[str], launch: Launch, console: Console) -> int:
    """Reports the grid of these overrides. Raises UsageError where it was never run."""
    path = plan.ledger.grid_path(plan.grid_id)
    if not path.exists():
        raise UsageError(
            f"This grid ({plan.grid_id}) was not run below {plan.ledger.runs_dir}. Run it first: {plan.command}"
        )
    return 0 if report(GridResults.load(plan.ledger, path), console) else 1
