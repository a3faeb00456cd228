"""`restore`: put the trials and grids of an archive into a ledger."""

from pathlib import Path

from ablate.console import make_console, say
from ablate.errors import UsageError
from ablate.records.archive import Archive, restore
from ablate.records.ledger import Ledger
from ablate.verbs.arguments import Arguments


def main(arguments: Arguments) -> int:
    """Write what the ledger lacks. Raises UsageError and LedgerError."""
    if len(arguments.names) != 1:
        raise arguments.error("takes one folder")
    archive = Archive(Path(arguments.names[0]).expanduser())
    if not archive.is_there:
        raise UsageError(f"{archive.where}: there is no archive here. `paper archive=FOLDER` writes one.")
    ledger = Ledger(Path(arguments.settings.get("runs_dir", arguments.verb.runs_dir)).expanduser().absolute())
    ledger.check_writable()
    restored = restore(archive, ledger)
    say(make_console(), f"{restored} trials restored to {ledger.runs_dir}; what was there has stayed.")
    return 0
