"""`run`: trains what is missing and ends in the lesson."""

from rich.console import Console

from ablate.grid.plan import Plan
from ablate.grid.run import Launch, run


def of_grid(plan: Plan, names: list[str], launch: Launch, console: Console) -> int:
    """Runs the grid."""
    return run(plan, launch, console)
