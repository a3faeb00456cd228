"""`run`: train the trials that are missing, then print the lesson; or only show them, or only submit them."""

from typing import TYPE_CHECKING

from rich.console import Console

from ablate.console import say
from ablate.errors import UsageError
from ablate.grid.grid import Grid
from ablate.grid.run import run, scripts, show_cells
from ablate.scheduling.launcher import Launcher

if TYPE_CHECKING:
    from ablate.tuning.tuning import Tuning

DRY = "Dry run: nothing was run, and nothing written into the ledger."


def of_grid(grid: Grid, names: list[str], launcher: Launcher, console: Console) -> int:
    """Run the grid."""
    if "--dry-run" not in names:
        return run(grid, launcher, console, detach="--detach" in names)
    show_cells(grid, grid.missing(), console)
    if text := scripts(grid, launcher):
        say(console, text)
    console.print(DRY)
    return 0


def of_tuning(tuning: "Tuning", names: list[str], launcher: Launcher, console: Console) -> int:
    """Tune every arm, then run the grid of the tuned arms."""
    from ablate.tuning.run import preview
    from ablate.tuning.run import run as run_tuning

    if "--detach" in names:
        raise UsageError("--detach: a tuning chooses each candidate when others have ended. Leave --detach out.")
    if "--dry-run" not in names:
        return run_tuning(tuning, launcher, lambda grid: run(grid, launcher, console), console)
    preview(tuning, console)
    console.print(DRY)
    return 0
