"""The words after a verb about a ledger: names, flags and settings."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.errors import FailureError, UsageError
from ablate.records.grid import GridRecord, values_of
from ablate.records.ledger import Ledger, TrialFolder
from ablate.scheduling.reconcile import as_reconciled, was_finished
from ablate.verbs.table import PROGRAM, Verb

if TYPE_CHECKING:
    from ablate.records.logs import Logs


@dataclass(frozen=True)
class Arguments:
    """The parsed words.

    Attributes:
        names: ids, names of lessons, a folder.
        settings: the NAME=VALUE words.
    """

    verb: Verb
    names: tuple[str, ...]
    flags: Mapping[str, str]
    settings: Mapping[str, str]

    @classmethod
    def of(cls, verb: Verb, words: Sequence[str], flags: Mapping[str, str]) -> "Arguments":
        """Split the words of a verb. Raises UsageError for words that it does not take."""
        settings = dict(word.split("=", 1) for word in words if "=" in word)
        names = tuple(word for word in words if "=" not in word)
        arguments = cls(verb, names, flags, settings)
        for key, value in settings.items():
            if key not in verb.settings and "KEY" not in verb.settings:
                close = get_close_matches(key, verb.settings, n=1)
                hint = f". Did you mean {close[0]}={value}?" if close else ""
                raise arguments.error(f"takes no {key}={value}" + (hint or " without -m" * (len(verb.usage) > 1)))
            if not value:
                raise arguments.error(f"{key}= is empty")
        if names and not verb.choices and all("=" in word for word in verb.takes):
            raise arguments.error("takes no names")
        return arguments

    def error(self, problem: str) -> UsageError:
        """Return an error with the usage of the verb."""
        verb, words = f"{PROGRAM} {self.verb.name}", " ".join([self.verb.name, *self.names])
        usage = "\n".join(f"  {verb} {form}" for form in self.verb.usage)
        end = "" if problem.endswith("?") else "."
        return UsageError(f"{words}: {problem}{end} Usage:\n{usage}\n`{verb} --help` tells more.")

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger in runs_dir=PATH. Raises UsageError if it is missing, FailureError if it is unreadable."""
        folder = Path(self.settings.get("runs_dir", self.verb.runs_dir)).expanduser().absolute()
        if not folder.is_dir():
            raise UsageError(f"{folder}: there is no ledger here. Run a grid, or type where it is: runs_dir=PATH")
        if not os.access(folder, os.R_OK | os.X_OK):
            raise FailureError(f"{folder}: the ledger cannot be read (permission denied).")
        return Ledger(folder)

    @cached_property
    def logs(self) -> "Logs":
        """Grids from runs_dir=, and numbers from there or from wandb=. Raises LedgerError if there are none."""
        # pandas takes a third of a second, which verbs that read records alone do not need.
        from ablate.records.open_logs import open_logs

        declared = open_logs(self.ledger.runs_dir)
        source = self.settings.get("wandb")
        if source is None:
            return declared
        from ablate.records.wandb.logs import OfflineWandbLogs, ProjectLogs

        if source == "offline":
            return OfflineWandbLogs(self.ledger.runs_dir, declared)
        return ProjectLogs(source, declared)


def trial_named(ledger: Ledger, name: str) -> TrialFolder:
    """Return the trial with this id, or the only one whose id begins with it. Raises UsageError."""
    known = [folder.trial_id for folder in ledger.trials()]
    matching = [name] if name in known else [trial for trial in known if trial.startswith(name)]
    if len(matching) == 1:
        return ledger.trial(matching[0])
    if matching:
        raise UsageError(f"{name}: begins {len(matching)} trial ids: {', '.join(matching[:8])}. Give more digits.")
    raise UsageError(
        f"{name}: no such trial below {ledger.runs_dir} ({len(known)} are there). `{PROGRAM} status` lists them."
    )


def trials_named(ledger: Ledger, name: str) -> list[TrialFolder]:
    """Return the trials of a grid's id or lesson name, of a tuning's id, or of a trial's. Raises UsageError."""
    if ledger.tuning_path(name).exists():
        return trials_of_tuning(ledger, name)
    grids = [grid for grid in ledger.grids([]) if name in (grid.grid_id, grid.declaration.name)]
    return ledger.trials_of(grids[0]) if grids else [trial_named(ledger, name)]


def trials_labelled(ledger: Ledger, name: str) -> list[TrialFolder]:
    """Return the trials as `trials_named`, or those of the arm with this label in the newest grid that has one."""
    for grid in ledger.grids([]):
        for arm in grid.arms:
            if name in (arm.label, values_of(arm.options)):
                return [ledger.trial(trial) for trial in arm.trials.values()]
    return trials_named(ledger, name)


def trials_of_tuning(ledger: Ledger, tuning_id: str) -> list[TrialFolder]:
    """Return a tuning's candidates, and the trials of its tuned arms once there are some."""
    from ablate.records.optuna.studies import studies_of

    ids = {
        id for grid in ledger.grids([]) if grid.tuning and grid.tuning.tuning_id == tuning_id for id in grid.trial_ids
    }
    if ledger.tuning_path(tuning_id).exists():
        for study in studies_of(ledger.tuning(tuning_id), ledger.runs_dir).values():
            attributes = [candidate.user_attrs for candidate in study.get_trials()]
            ids |= {candidate["trial_id"] for candidate in attributes if "trial_id" in candidate}
    return [ledger.trial(trial_id) for trial_id in sorted(ids)]


def trained_trial_named(ledger: Ledger, name: str) -> TrialFolder:
    """Return the finished trial with this id, or id's first digits, whose weights are there.

    Raises:
        UsageError: an unknown or unfinished trial.
        FailureError: its weights were deleted.
    """
    folder = trial_named(ledger, name)
    record = as_reconciled(folder, folder.record())
    if not was_finished(record):
        raise UsageError(
            f"{folder.trial_id}: is {record.status}; this takes a finished trial. "
            f"`{PROGRAM} status {folder.trial_id}` tells more; the command that started it resumes it."
        )
    if not folder.model_path.exists():
        raise FailureError(
            f"{folder.model_path}: the weights of this trial were deleted. Put the file back, or train the trial again "
            "in another folder: the command of its grid with runs_dir=PATH."
        )
    return folder


def grid_named(grids: Sequence[GridRecord], name: str, where: str) -> GridRecord:
    """Return the newest grid with this id or lesson name. Raises UsageError."""
    for grid in grids:
        if name in (grid.grid_id, grid.declaration.name):
            return grid
    raise UsageError(f"{name}: no such grid below {where}. There are:\n{listed(grids) or '  none'}")


def listed(grids: Sequence[GridRecord]) -> str:
    """Return a line per grid: its id, its lesson's name and its command."""
    names = [(grid.grid_id, grid.declaration.name, grid.command) for grid in grids]
    return "\n".join(f"  {'  '.join(filter(None, of_grid))}" for of_grid in names)
