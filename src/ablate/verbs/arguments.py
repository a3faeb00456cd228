"""The words after a verb about a ledger: names, flags, and where the ledger is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ablate.errors import UsageError, nearest
from ablate.records.ledger import Ledger, TrialFolder


@dataclass(frozen=True)
class Arguments:
    """What a verb was given.

    Attributes:
        ledger: below `runs_dir=…`, or below `runs` in the current folder.
        names: ids of trials or grids.
        flags: those that were given.
        options: other `key=value` that were given, by key.
    """

    ledger: Ledger
    names: tuple[str, ...]
    flags: frozenset[str]
    options: Mapping[str, str]

    @classmethod
    def of(
        cls,
        verb: str,
        arguments: Sequence[str],
        flags: Mapping[str, str],
        takes: str,
        options: Sequence[str] = (),
        runs_dir: str = "runs",
    ) -> "Arguments":
        """Parses the words.

        Args:
            verb: for messages.
            arguments: the words after it.
            flags: what this verb knows, with what it does.
            takes: what it takes besides, for messages.
            options: the keys that it knows beside `runs_dir`.
            runs_dir: where the ledger is if nothing says so.

        Raises:
            UsageError: a word that means nothing here, or no such folder.
        """
        names: list[str] = []
        given, chosen = set(), {}
        for word in arguments:
            key, is_option, value = word.partition("=")
            if word.startswith("-"):
                if word not in flags:
                    known = nearest(word, flags) if flags else "It takes none."
                    raise UsageError(f"{verb} {word}: no such flag. {known}")
                given.add(word)
            elif not is_option:
                names.append(word)
            elif key == "runs_dir":
                runs_dir = value
            elif key in options:
                chosen[key] = value
            else:
                raise UsageError(f"{verb} {word}: takes {takes}.")
        folder = Path(runs_dir).expanduser().absolute()
        if not folder.is_dir():
            raise UsageError(f"{folder}: there is no ledger here. Run something, or say where it is: runs_dir=PATH")
        return cls(Ledger(folder), tuple(names), frozenset(given), chosen)


def trial_named(ledger: Ledger, name: str) -> TrialFolder:
    """The trial with this id, or with the one id that begins so. Raises UsageError."""
    known = [folder.trial_id for folder in ledger.trials()]
    found = [trial for trial in known if trial.startswith(name)]
    if len(found) == 1 or name in known:
        return ledger.trial(name if name in known else found[0])
    if found:
        raise UsageError(f"{name}: begins the ids of {len(found)} trials: {', '.join(found[:8])}. Give more of it.")
    raise UsageError(
        f"{name}: no such trial below {ledger.runs_dir} ({len(known)} are there). `python -m ablate status` lists them."
    )
