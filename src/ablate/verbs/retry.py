"""`retry`: reset failed and diverged trials; with a grid's overrides, also run the grid."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console

from ablate.console import make_console, say
from ablate.grid.grid import Grid
from ablate.grid.run import run
from ablate.records.lease import LockedError
from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.trial import Status
from ablate.scheduling.launcher import Launcher
from ablate.scheduling.reconcile import reconcile
from ablate.verbs.arguments import Arguments, trial_named, trials_of_tuning
from ablate.verbs.table import PROGRAM

if TYPE_CHECKING:
    from ablate.tuning.tuning import Tuning


def main(arguments: Arguments) -> int:
    """Reset trials, named by their ids or by a grid's, and print the commands that run them. Raises UsageError."""
    if not arguments.names:
        raise arguments.error(f"takes ids of trials, grids or tunings; `{PROGRAM} status` shows what failed")
    console = make_console()
    commands: dict[str, None] = {}
    folders = []
    for name in arguments.names:
        of_name, command = _named(arguments.ledger, name)
        folders += of_name
        commands[command] = None
    if reset(folders, console, is_fresh="--fresh" in arguments.flags):
        say(console, "\n  ".join(["To run them:", *commands]))
    return 0


def of_grid(grid: Grid, names: list[str], launcher: Launcher, console: Console) -> int:
    """Reset the grid's failed and diverged trials and run what is missing."""
    reset([grid.ledger.trial(trial) for trial in grid.trials], console, is_fresh="--fresh" in names)
    return run(grid, launcher, console, detach="--detach" in names)


def of_tuning(tuning: "Tuning", names: list[str], launcher: Launcher, console: Console) -> int:
    """Reset the tuning's failed and diverged candidates and run what is missing."""
    from ablate.verbs.run import of_tuning as run_tuning

    folders = trials_of_tuning(tuning.ledger, tuning.tuning_id)
    reset(folders, console, is_fresh="--fresh" in names)
    return run_tuning(tuning, [], launcher, console)


def reset(folders: Iterable[TrialFolder], console: Console, *, is_fresh: bool) -> int:
    """Set failed and diverged trials to pending and return their number.

    The files of a diverged trial are archived: it starts from the beginning, as its checkpoint has a diverged state.
    """
    count = 0
    for folder in folders:
        # If the whole command was killed, the record still says that the trial is running.
        reconcile(folder)
        status = folder.status
        if status not in (Status.FAILED, Status.DIVERGED):
            continue
        try:
            with folder.lease:
                if is_fresh or status == Status.DIVERGED:
                    folder.archive_attempt()
                folder.update(status=Status.PENDING, failure=None)
        except LockedError as error:
            say(console, f"{folder.trial_id}: skipped, {error}")
            continue
        count += 1
        step = folder.checkpoints.newest_step
        place = "from the beginning" if step is None else f"from step {step:,}"
        say(console, f"{folder.trial_id}: was {status}, reset; it starts {place}")
    if not count:
        say(console, "Nothing failed or diverged here.")
    return count


def _named(ledger: Ledger, name: str) -> tuple[list[TrialFolder], str]:
    """Return the trials of a trial's, grid's or tuning's id, and the command that runs them."""
    if ledger.tuning_path(name).exists():
        return trials_of_tuning(ledger, name), ledger.tuning(name).command
    try:
        grid = ledger.grid(name)
    except FileNotFoundError:
        folder = trial_named(ledger, name)
        first = folder.record().first_grid or ""
        is_tuning = ledger.tuning_path(first).exists()
        return [folder], ledger.tuning(first).command if is_tuning else ledger.grid(first).command
    return ledger.trials_of(grid), grid.command
