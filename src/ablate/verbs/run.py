"""`run`: train the trials that are missing, then print the lesson; `--dry-run` only shows them."""

from typing import TYPE_CHECKING

from rich.console import Console

from ablate.grid.grid import Grid
from ablate.grid.run import run, show_cells
from ablate.scheduling.launcher import Launcher

if TYPE_CHECKING:
    from ablate.tuning.tuning import Tuning

DRY = "Dry run: nothing was run, and nothing written into the ledger."


def of_grid(grid: Grid, names: list[str], launcher: Launcher, console: Console) -> int:
    """Run the grid."""
    if "--dry-run" not in names:
        return run(grid, launcher, console)
    show_cells(grid, grid.missing(), console)
    console.print(DRY)
    return 0


def of_tuning(tuning: "Tuning", names: list[str], launcher: Launcher, console: Console) -> int:
    """Tune every arm, then run the grid of the tuned arms."""
    from ablate.tuning.run import preview
    from ablate.tuning.run import run as run_tuning

    if "--dry-run" not in names:
        return run_tuning(tuning, launcher, lambda grid: run(grid, launcher, console), console)
    preview(tuning, console)
    console.print(DRY)
    return 0
