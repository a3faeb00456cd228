"""A trial's log: one JSON object per logged step."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from ablate.errors import LedgerError

VALIDATION = "val/"
TRAINING_LOSS = "train/loss"


class MetricsWriter:
    """Appends rows to `metrics.jsonl`; each row is on its way to the disk when `append` returns.

    Args:
        path: the file.
        keep_bytes: what of an earlier attempt stays: its rows up to the checkpoint that is gone on from.

    Raises:
        LedgerError: the file is shorter than `keep_bytes`.
    """

    def __init__(self, path: Path, keep_bytes: int = 0) -> None:
        self.path = path
        self._file = path.open("ab", buffering=0)
        if self._file.tell() < keep_bytes:
            self._file.close()
            raise LedgerError(
                f"{path}: has {path.stat().st_size} bytes, its checkpoint was written after {keep_bytes}. Somebody "
                f"shortened it. Delete the folder {path.parent / 'checkpoints'} to train from the beginning."
            )
        self._file.truncate(keep_bytes)

    def append(self, step: int, values: dict[str, Any]) -> None:
        """One row: `step` and its metrics.

        Raises:
            LedgerError: it can't be written, as on a full disk; half a row may be left, which no reader takes.
        """
        left = (json.dumps({"step": step, **values}) + "\n").encode()
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise LedgerError(
                f"{self.path}: cannot write the log ({error.strerror}). When that is mended, the same command goes on "
                "from the last checkpoint."
            ) from error

    def sync(self) -> int:
        """Returns, when all rows are on the disk, how many bytes they are."""
        os.fsync(self._file.fileno())
        return self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Closes the file; once more does nothing."""
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a log that may still grow: a last line that is not whole is left out; no file is no row."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def read_validation(path: Path, evaluations: int) -> list[tuple[int, dict[str, float]]]:
    """What a log has of the validation split: how many evaluations there were, of so many over the whole budget, and each."""
    found = []
    for row in read_metrics(path):
        scores = {name.removeprefix(VALIDATION): value for name, value in row.items() if name.startswith(VALIDATION)}
        if scores:
            found.append((int(row["progress"] * evaluations), scores))
    return found


def last_metrics(path: Path, tail_bytes: int = 4096) -> dict[str, Any]:
    """Return the newest value of each metric in the last rows of a log; {} where there is no row.

    The tail is read from the end of the file and grows until it holds a row of the training, because rows of the
    validation split alone may fill any fixed number of bytes.
    """
    newest: dict[str, Any] = {}
    while True:
        try:
            with path.open("rb") as file:
                start = max(0, path.stat().st_size - tail_bytes)
                file.seek(start)
                lines = file.read().split(b"\n")[:-1]
        except FileNotFoundError:
            return {}
        for line in lines:
            # The first line of the tail may have lost its head.
            with contextlib.suppress(ValueError):
                newest |= json.loads(line)
        if start == 0 or TRAINING_LOSS in newest:
            return newest
        tail_bytes *= 4


def write_parquet(rows: list[dict[str, Any]], path: Path) -> None:
    """The same rows as a column file."""
    # Not at the top: the command line reads logs too, and pandas takes half a second.
    import pandas as pd

    pd.DataFrame(rows).to_parquet(path)
