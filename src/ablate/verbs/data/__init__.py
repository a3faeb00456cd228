"""`data prepare | show | stats | verify`: the training text of a grid's trials."""

from rich.console import Console

from ablate.grid.grid import Grid
from ablate.scheduling.launcher import Launcher
from ablate.verbs.data import prepare, show, stats, verify

SUBJECTS = {"prepare": prepare.of_grid, "show": show.of_grid, "stats": stats.of_grid, "verify": verify.of_grid}


def of_grid(plan: Grid, names: list[str], launcher: Launcher, console: Console) -> int:
    """Run one of the subcommands."""
    subject, *rest = names
    return SUBJECTS[subject](plan, rest, console)
