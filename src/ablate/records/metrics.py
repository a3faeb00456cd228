"""A trial's log: one JSON object per logged step."""

import contextlib
import json
from pathlib import Path
from typing import Any


class MetricsWriter:
    """Appends rows to `metrics.jsonl`; each row is on its way to the disk when `append` returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")

    def append(self, step: int, values: dict[str, Any]) -> None:
        """One row: `step` and its metrics."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()

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


def last_metrics(path: Path, tail_bytes: int = 4096) -> dict[str, Any]:
    """The newest value of each metric in the log's last rows, read from its end; {} where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - tail_bytes))
            lines = file.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return {}
    newest: dict[str, Any] = {}
    for line in lines:
        # The first line of the tail may have lost its head.
        with contextlib.suppress(ValueError):
            newest |= json.loads(line)
    return newest


def write_parquet(rows: list[dict[str, Any]], path: Path) -> None:
    """The same rows as a column file."""
    # Not at the top: the command line reads logs too, and pandas takes half a second.
    import pandas as pd

    pd.DataFrame(rows).to_parquet(path)
