"""Errors that users see, with their exit codes. The ground floor: imports nothing of ablate.

Only a `UserError` is printed as one polite message. Every other exception is a fault of ablate (or of a library under
it) and keeps its traceback.
"""

import difflib
from collections.abc import Iterable
from pathlib import Path


class UserError(Exception):
    """An error that the user can fix: one message, no traceback."""

    exit_code = 1


class UsageError(UserError, ValueError):
    """The command or its configuration is wrong: what was given, what is allowed, what to type instead."""

    exit_code = 2


class FailureError(UserError, RuntimeError):
    """The command is right and the work failed: a missing package, a full disk, a broken file."""


class LedgerError(UserError, RuntimeError):
    """The ledger cannot be read or written."""


class NewerFormatError(LedgerError):
    """A file was written by a newer version of ablate."""


class StorageError(UserError, OSError):
    """A file or folder cannot be read or written."""

    def __init__(self, path: Path, problem: str, cause: OSError) -> None:
        super().__init__(f"{path}: {problem} ({cause.strerror or cause}).")
        self.strerror = cause.strerror or str(cause)


def nearest(given: str, allowed: Iterable[str]) -> str:
    """Return 'Did you mean x? Allowed: …' for an unknown name."""
    names = sorted(set(allowed))
    close = difflib.get_close_matches(given, names, n=1)
    hint = f"Did you mean {close[0]}? " if close else ""
    return f"{hint}Allowed: {', '.join(names)}."
