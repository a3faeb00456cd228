"""Lessons of grids that were run before, by id."""

from pathlib import Path

from ablate.errors import UsageError
from ablate.grid.run import make_console
from ablate.lessons.grid_results import GridResults
from ablate.lessons.report import report
from ablate.records.files import read_json
from ablate.records.ledger import Ledger


def show_past_lessons(arguments: list[str]) -> int:
    """Reports the grids with these ids, or the newest one; `runs_dir=…` says where.

    Raises:
        UsageError: no such grid, or nothing that this verb knows.
    """
    runs_dir, grid_ids = "runs", []
    for argument in arguments:
        key, is_option, value = argument.partition("=")
        if (is_option and key != "runs_dir") or argument.startswith("-"):
            raise UsageError(
                f"lessons {argument}: takes grid ids and runs_dir=PATH, or with -m a grid's overrides:\n"
                "  python -m ablate lessons -m objective=causal,prefix,mixed"
            )
        if is_option:
            runs_dir = value
        else:
            grid_ids.append(argument)
    ledger = Ledger(Path(runs_dir).expanduser().absolute())
    known = ledger.grids()
    if not known:
        raise UsageError(f"{ledger.runs_dir}: no grid was run here. Run one, or say where: runs_dir=PATH")
    console = make_console()
    for grid_id in grid_ids:
        if not ledger.grid_path(grid_id).exists():
            listed = "\n".join(f"  {path.stem}  {read_json(path)['command']}" for path in known)
            raise UsageError(f"{grid_id}: no such grid below {ledger.runs_dir}. There are:\n{listed}")
    paths = [ledger.grid_path(grid_id) for grid_id in grid_ids] or known[:1]
    reported = [report(GridResults.load(ledger, path), console) for path in paths]
    if not grid_ids and len(known) > 1:
        console.print("\nOther grids here (python -m ablate lessons GRID_ID):")
        for path in known[1:]:
            console.print(f"  {path.stem}  {read_json(path)['command']}", highlight=False)
    return 0 if all(reported) else 1
