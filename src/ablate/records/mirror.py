"""The interface of what copies a trial's log: a W&B run, or a logger of Lightning's."""

from typing import Any, Protocol


class Mirror(Protocol):
    """A copy of a trial's log. The log in the ledger is the truth: a mirror that fails stops no trial."""

    def begin(self, rows: list[dict[str, Any]]) -> None:
        """Take the rows that the log has, each with its `step`, before the first new one."""

    def append(self, step: int, values: dict[str, Any]) -> None:
        """Copy one row."""

    def conclude(self, summary: dict[str, Any]) -> None:
        """Take what the trial came to."""

    def close(self) -> None:
        """Complete the copy."""
