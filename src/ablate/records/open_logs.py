"""Opens the logs in a folder, whichever kind they are."""

from pathlib import Path

from ablate.errors import LedgerError
from ablate.records.archive import Archive
from ablate.records.ledger import Ledger
from ablate.records.ledger_logs import LedgerLogs
from ablate.records.logs import Logs


def open_logs(folder: Path) -> Logs:
    """Open the archive or ledger in a folder.

    Raises:
        LedgerError: the folder has neither.
    """
    if Archive(folder).is_there:
        return Archive(folder)
    if (folder / "grids").is_dir():
        return LedgerLogs(Ledger(folder))
    raise LedgerError(f"{folder}: has neither a ledger nor an archive. Run a grid, or name its folder: runs_dir=PATH")
