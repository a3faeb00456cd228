"""`retry`: reset failed and diverged trials; with a grid's overrides, also run the grid."""

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape

from ablate.console import make_console
from ablate.grid.grid import Grid
from ablate.grid.run import run
from ablate.records.lease import LockedError
from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.trial import Status
from ablate.scheduling.launcher import Launcher
from ablate.scheduling.reconcile import reconcile
from ablate.verbs.arguments import Arguments, trial_named


def main(arguments: Arguments) -> int:
    """Reset trials, named by their ids or by a grid's, and print the commands that run them. Raises UsageError."""
    if not arguments.names:
        raise arguments.error("takes ids of trials or grids; `ablate status` shows what failed")
    console = make_console()
    commands: dict[str, None] = {}
    folders = []
    for name in arguments.names:
        of_name, command = _named(arguments.ledger, name)
        folders += of_name
        commands[command] = None
    if reset(folders, console, is_fresh="--fresh" in arguments.flags):
        console.print("To run them:")
        for command in commands:
            console.print(f"  {command}", markup=False, highlight=False, soft_wrap=True)
    return 0


def of_grid(plan: Grid, names: list[str], launcher: Launcher, console: Console) -> int:
    """Reset the grid's failed and diverged trials and run what is missing."""
    reset([plan.ledger.trial(trial) for trial in plan.trials], console, is_fresh="--fresh" in names)
    return run(plan, launcher, console)


def reset(folders: Iterable[TrialFolder], console: Console, *, is_fresh: bool) -> int:
    """Set failed and diverged trials to pending, and return how many that were.

    A diverged trial starts from the beginning, because its checkpoint has the state that diverged. Its files are
    archived.
    """
    count = 0
    for folder in folders:
        # The record of a trial whose whole command was killed still says that it is running.
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
            console.print(f"{folder.trial_id}: skipped, {escape(str(error))}", highlight=False)
            continue
        count += 1
        step = folder.checkpoints.newest_step
        place = "from the beginning" if step is None else f"from step {step:,}"
        console.print(f"{folder.trial_id}: was {status}, reset; it starts {place}", highlight=False)
    if not count:
        console.print("Nothing failed or diverged here.")
    return count


def _named(ledger: Ledger, name: str) -> tuple[list[TrialFolder], str]:
    """The trials of an id, and the command that runs them."""
    try:
        grid = ledger.grid(name)
    except FileNotFoundError:
        folder = trial_named(ledger, name)
        return [folder], _command(ledger, folder.record().first_grid or "")
    return ledger.trials_of(grid), grid.command


def _command(ledger: Ledger, first: str) -> str:
    """The command that ran a grid or a tuning."""
    try:
        return ledger.tuning(first).command
    except FileNotFoundError:
        return ledger.grid(first).command
