"""The words after a verb about a ledger: names, flags, and settings such as where the ledger is."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ablate.errors import FailureError, UsageError
from ablate.records.ledger import Ledger, TrialFolder
from ablate.verbs.table import Verb


@dataclass(frozen=True)
class Arguments:
    """The parsed words.

    Attributes:
        names: words that are neither flags nor settings: ids, names of lessons, a folder.
        flags: the flags, with the values of those that take one.
        settings: NAME=VALUE words, by name.
    """

    verb: Verb
    names: tuple[str, ...]
    flags: Mapping[str, str]
    settings: Mapping[str, str]

    @classmethod
    def of(cls, verb: Verb, words: Sequence[str], flags: Mapping[str, str]) -> "Arguments":
        """Split the words of a verb. Raises UsageError for one that the verb does not take."""
        settings = dict(word.split("=", 1) for word in words if "=" in word)
        names = tuple(word for word in words if "=" not in word)
        arguments = cls(verb, names, flags, settings)
        for key, value in settings.items():
            if key not in verb.settings:
                raise arguments.error(f"takes no {key}={value}" + (" without -m" if len(verb.usage) > 1 else ""))
        if names and not verb.choices and all("=" in word for word in verb.takes):
            raise arguments.error("takes no names")
        return arguments

    def error(self, problem: str) -> UsageError:
        """What is wrong with the words, and what the verb takes."""
        usage = "\n".join(f"  ablate {self.verb.name} {form}" for form in self.verb.usage)
        given = " ".join([self.verb.name, *self.names])
        return UsageError(f"{given}: {problem}. Usage:\n{usage}\n`ablate {self.verb.name} --help` tells more.")

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger that runs_dir=PATH names. Raises UsageError where there is no such folder."""
        folder = Path(self.settings.get("runs_dir", self.verb.runs_dir)).expanduser().absolute()
        if not folder.is_dir():
            raise UsageError(f"{folder}: there is no ledger here. Run something, or say where it is: runs_dir=PATH")
        if not os.access(folder, os.R_OK | os.X_OK):
            raise FailureError(f"{folder}: the ledger cannot be read (permission denied).")
        return Ledger(folder)

    def trial(self, name: str) -> TrialFolder:
        """The trial with this id, or with the one id that begins with it. Raises UsageError."""
        return trial_named(self.ledger, name)


def trial_named(ledger: Ledger, name: str) -> TrialFolder:
    """The trial with this id, or with the one id that begins with it. Raises UsageError."""
    known = [folder.trial_id for folder in ledger.trials()]
    matching = [name] if name in known else [trial for trial in known if trial.startswith(name)]
    if len(matching) == 1:
        return ledger.trial(matching[0])
    if matching:
        listed = ", ".join(matching[:8])
        raise UsageError(f"{name}: {len(matching)} trial ids begin with it: {listed}. Give more digits.")
    raise UsageError(
        f"{name}: no such trial below {ledger.runs_dir} ({len(known)} are there). `ablate status` lists them."
    )
