"""`data prepare | show | stats | verify`: the training text of a grid's trials."""

from rich.console import Console

from ablate.errors import UsageError
from ablate.grid.grid import Grid
from ablate.scheduling.launcher import Launcher
from ablate.verbs.data import prepare, show, stats

VERBS = {"prepare": prepare.prepare, "show": show.of_grid, "stats": stats.of_grid, "verify": prepare.verify}
ALLOWED = {
    "show": (str.isdecimal, "takes a grid's overrides and numbers of rows, such as 0 7"),
    "stats": ("--markdown".__eq__, "takes a grid's overrides and --markdown"),
}


def of_grid(grid: Grid, names: list[str], launcher: Launcher, console: Console) -> int:
    """Run one of the subcommands. Raises UsageError for a word that it does not take."""
    subcommand, *words = names
    is_allowed, takes = ALLOWED.get(subcommand, (None, "takes a grid's overrides only, such as corpus=wheels"))
    if not all(is_allowed and is_allowed(word) for word in words):
        raise UsageError(f"data {' '.join(names)}: {takes}.")
    return VERBS[subcommand](grid, words, console)
