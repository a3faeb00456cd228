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
    """Append rows to `metrics.jsonl`, unbuffered.

    Args:
        keep_bytes: the size up to the checkpoint that training resumes from; later rows are removed.

    Raises:
        LedgerError: the file is shorter than `keep_bytes`.
    """

    def __init__(self, path: Path, keep_bytes: int = 0) -> None:
        self.path = path
        self._file = path.open("ab", buffering=0)
        if self._file.tell() < keep_bytes:
            self._file.close()
            raise LedgerError(
                f"{path}: has {path.stat().st_size} bytes, but its checkpoint was written after {keep_bytes}. Delete "
                f"the folder {path.parent / 'checkpoints'} to train from the beginning."
            )
        self._file.truncate(keep_bytes)

    def append(self, step: int, values: dict[str, Any]) -> None:
        """Append one row.

        Raises:
            LedgerError: the row cannot be written, e.g. on a full disk. Readers skip an incomplete last row.
        """
        left = (json.dumps({"step": step, **values}) + "\n").encode()
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise LedgerError(
                f"{self.path}: cannot write the log ({error.strerror}). Fix that and run the same command again: it "
                "resumes from the last checkpoint."
            ) from error

    def sync(self) -> int:
        """Flush all rows to the disk and return their size in bytes."""
        os.fsync(self._file.fileno())
        return self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Close the file. Closing it again does nothing."""
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a log without an incomplete last line; [] without a file.

    Raises:
        LedgerError: a line that is not a row.
    """
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise LedgerError(
                f"{path}: line {number} is damaged, so the trial's log is left out. Move the file away, and run the "
                "trial again to have a log (retry --fresh)."
            )
        rows.append(row)
    return rows


def read_validation(path: Path, evaluations: int) -> list[tuple[int, dict[str, float]]]:
    """Return the scores on the validation split, each with its number of `evaluations` over the whole budget."""
    series = []
    for row in read_metrics(path):
        scores = {name.removeprefix(VALIDATION): value for name, value in row.items() if name.startswith(VALIDATION)}
        if scores:
            series.append((int(row["progress"] * evaluations), scores))
    return series


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
            # The first line of the tail may be incomplete.
            with contextlib.suppress(ValueError, TypeError):
                newest |= json.loads(line)
        if start == 0 or TRAINING_LOSS in newest:
            return newest
        tail_bytes *= 4


def write_parquet(rows: list[dict[str, Any]], path: Path) -> None:
    """Write rows as a Parquet file."""
    # The command line imports this module, and pandas takes half a second.
    import pandas as pd

    pd.DataFrame(rows).to_parquet(path)
