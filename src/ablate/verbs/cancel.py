"""`cancel`: end the jobs of submitted and running trials."""

from collections import defaultdict
from collections.abc import Container, Iterable
from typing import TYPE_CHECKING

from rich.console import Console

from ablate.console import counted, make_console, say
from ablate.records.ledger import Ledger, TrialFolder
from ablate.scheduling.launchers import LAUNCHERS, launcher_class
from ablate.scheduling.reconcile import as_reconciled, reconcile
from ablate.verbs.arguments import Arguments, trials_named, trials_of_tuning
from ablate.verbs.table import PROGRAM

if TYPE_CHECKING:
    from ablate.grid.grid import Grid
    from ablate.scheduling.launcher import Launcher
    from ablate.tuning.tuning import Tuning


def main(arguments: Arguments) -> int:
    """End the jobs of trials, named by their ids or by a grid's. Raises UsageError."""
    if not arguments.names:
        raise arguments.error(f"takes ids of trials, grids or tunings; `{PROGRAM} status` shows what is submitted")
    folders = [folder for name in arguments.names for folder in trials_named(arguments.ledger, name)]
    return cancel(folders, arguments.ledger, make_console(), arguments.flags)


def of_grid(grid: "Grid", names: list[str], launcher: "Launcher", console: Console) -> int:
    """End the jobs of a grid's trials."""
    return cancel([grid.ledger.trial(trial) for trial in grid.trials], grid.ledger, console, names)


def of_tuning(tuning: "Tuning", names: list[str], launcher: "Launcher", console: Console) -> int:
    """End the jobs of a tuning's candidates."""
    return cancel(trials_of_tuning(tuning.ledger, tuning.tuning_id), tuning.ledger, console, names)


def cancel(folders: Iterable[TrialFolder], ledger: Ledger, console: Console, flags: Container[str]) -> int:
    """Ask the jobs of trials to save and end. Raises UserError where a launcher cannot."""
    jobs: dict[str, dict[str, TrialFolder]] = defaultdict(dict)
    for folder in folders:
        job = as_reconciled(folder, folder.record()).job
        if job is not None and job.launcher in LAUNCHERS:
            jobs[job.launcher][job.job_id] = folder
    for launcher, of_launcher in jobs.items():
        launcher_class(launcher).cancel_elsewhere(list(of_launcher), ledger.runs_dir, at_once="--now" in flags)
        for folder in of_launcher.values():
            # Those that had not started are pending now; running ones are when they have saved.
            reconcile(folder)
        say(console, f"{counted(len(of_launcher), 'job')} of {launcher} cancelled. Running trials save first.")
    if not jobs:
        say(console, "Nothing is submitted or running here.")
    return 0
