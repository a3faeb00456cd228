"""`retry`: plans again what failed or diverged; with a grid's overrides, runs it as well."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape

from ablate.console import make_console
from ablate.errors import UsageError
from ablate.grid.job import reconcile
from ablate.grid.plan import Plan
from ablate.grid.run import Launch, run
from ablate.records.lease import HeldElsewhereError
from ablate.records.ledger import Ledger, Status, TrialFolder
from ablate.verbs.arguments import Arguments, trial_named

FLAGS = {"--fresh": "from the beginning, not from the last checkpoint"}
ENDED = (Status.FAILED, Status.DIVERGED)


def main(arguments: Sequence[str]) -> int:
    """Plans trials again, named by their ids or by a grid's, and tells which commands run them. Raises UsageError."""
    takes = "ids of trials or grids and runs_dir=PATH, or with -m a grid's overrides"
    given = Arguments.of("retry", arguments, FLAGS, takes)
    if not given.names:
        raise UsageError(f"retry takes {takes}. `python -m ablate status` shows what failed.")
    console = make_console()
    commands: dict[str, None] = {}
    folders = []
    for name in given.names:
        found, command = _named(given.ledger, name)
        folders += found
        commands[command] = None
    if plan_again(folders, console, is_fresh="--fresh" in given.flags):
        console.print("To run them:")
        for command in commands:
            console.print(f"  {command}", markup=False, highlight=False, soft_wrap=True)
    return 0


def of_grid(plan: Plan, names: list[str], launch: Launch, console: Console) -> int:
    """Plans the grid's failed and diverged trials again and runs what is missing."""
    if unknown := set(names) - FLAGS.keys():
        raise UsageError(f"retry: {', '.join(sorted(unknown))}: no such flag.")
    plan_again([plan.ledger.trial(trial) for trial in plan.trials], console, is_fresh="--fresh" in names)
    return run(plan, launch, console)


def plan_again(folders: Iterable[TrialFolder], console: Console, *, is_fresh: bool) -> int:
    """Sets what ended badly to planned; how many that were.

    A diverged trial begins anew: its checkpoint is the state that diverged. What it left is set aside, not removed.
    """
    count = 0
    for folder in folders:
        # A trial whose whole command was killed still says that it runs.
        reconcile(folder, interrupted=False)
        status = folder.status
        if status not in ENDED:
            continue
        try:
            with folder.lease:
                if is_fresh or status == Status.DIVERGED:
                    folder.archive_attempt()
                folder.update(status=Status.PENDING, failure=None)
        except HeldElsewhereError as error:
            console.print(f"{folder.trial_id}: left alone, {escape(str(error))}", highlight=False)
            continue
        count += 1
        step = folder.checkpoints.newest_step
        place = "from the beginning" if step is None else f"from step {step:,}"
        console.print(f"{folder.trial_id}: was {status}, planned again {place}", highlight=False)
    if not count:
        console.print("Nothing failed or diverged here.")
    return count


def _named(ledger: Ledger, name: str) -> tuple[list[TrialFolder], str]:
    """The trials that a name means, and the command that runs them."""
    try:
        grid = ledger.grid(name)
    except FileNotFoundError:
        folder = trial_named(ledger, name)
        return [folder], _command(ledger, folder.record()["first_grid"])
    return ledger.trials_of(grid), str(grid["command"])


def _command(ledger: Ledger, first: str) -> str:
    """What was typed to run a grid or a sweep."""
    try:
        return str(ledger.sweep(first)["command"])
    except FileNotFoundError:
        return str(ledger.grid(first)["command"])
