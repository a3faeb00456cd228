"""Copies a trial's log to a logger of Lightning's: CSV files or TensorBoard's."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

log = logging.getLogger(__name__)

LoggerName = Literal["csv", "tensorboard"]
FLUSH_ROWS = 10


class LightningMirror:
    """The log as Lightning's logger writes it, in a folder of the trial named like the logger.

    A logger cannot take rows back. So each attempt writes the folder anew, from the rows that the log has kept.
    """

    def __init__(self, name: LoggerName, folder: Path) -> None:
        self._name = name
        self._folder = folder / name
        self._logger: Any = None
        self._has_failed = False

    def begin(self, rows: list[dict[str, Any]]) -> None:
        """Replace the folder by one with these rows."""
        shutil.rmtree(self._folder, ignore_errors=True)
        for row in rows:
            self.append(row["step"], {name: value for name, value in row.items() if name != "step"})

    def append(self, step: int, values: dict[str, Any]) -> None:
        """Write one row's numbers."""
        numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
        self._attempt(lambda: self._opened().log_metrics(numbers, step))

    def conclude(self, summary: dict[str, Any]) -> None:
        """Do nothing: the record has the summary."""

    def close(self) -> None:
        """Flush and close the files."""
        if self._logger is not None:
            self._attempt(lambda: self._logger.finalize("success"))

    def _opened(self) -> Any:
        if self._logger is None:
            # Imports torch, which the process's fork server has done.
            from lightning.fabric.loggers.csv_logs import CSVLogger
            from lightning.fabric.loggers.tensorboard import TensorBoardLogger

            root = self._folder.parent
            self._logger = (
                CSVLogger(root, self._name, version="", flush_logs_every_n_steps=FLUSH_ROWS)
                if self._name == "csv"
                else TensorBoardLogger(root, self._name, version="")
            )
        return self._logger

    def _attempt(self, write: Callable[[], object]) -> None:
        if self._has_failed:
            return
        try:
            write()
        except Exception as error:
            self._has_failed = True
            log.warning("%s gets no more rows of this trial: %s", self._folder, error)
