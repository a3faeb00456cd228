"""`run`: trains what is missing and ends in the lesson."""

from typing import TYPE_CHECKING

from rich.console import Console

from ablate.grid.plan import Plan
from ablate.grid.run import Launch, run

if TYPE_CHECKING:
    from ablate.tuning.loop import Launch as LaunchAsTheyCome
    from ablate.tuning.tuning import Sweep


def of_grid(plan: Plan, names: list[str], launch: Launch, console: Console) -> int:
    """Runs the grid."""
    return run(plan, launch, console)


def of_sweep(
    sweep: "Sweep", names: list[str], launch_as_they_come: "LaunchAsTheyCome", launch: Launch, console: Console
) -> int:
    """Tunes every arm, then runs the grid of the tuned ones."""
    from ablate.tuning.run import run as run_sweep

    return run_sweep(sweep, launch_as_they_come, lambda plan: run(plan, launch, console), console)
