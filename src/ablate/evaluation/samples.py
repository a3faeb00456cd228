"""Samples on disk: a line of JSON each, written when the sample ends, so that a killed run repeats none of them."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class StoredSample:
    """What a model wrote for a problem.

    Attributes:
        problem: its name.
        sample: number among the samples of the problem.
        text: up to the stop string.
        finished_by: `end_token`, `stop_string` or `max_tokens`.
    """

    problem: str
    sample: int
    text: str
    finished_by: str


class SampleFile:
    """The samples of one suite and trial, in the order in which they ended.

    Args:
        path: None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def read(self) -> list[StoredSample]:
        """Return all samples. A line that a kill tore is removed, and so is all after it."""
        if self._path is None or not self._path.exists():
            return []
        samples, whole = [], 0
        content = self._path.read_bytes()
        for line in content.splitlines(keepends=True):
            try:
                if not line.endswith(b"\n"):
                    raise ValueError("torn")
                samples.append(StoredSample(**json.loads(line)))
            except (ValueError, TypeError):
                break
            whole += len(line)
        if whole < len(content):
            os.truncate(self._path, whole)
        return samples

    def append(self, samples: Iterable[StoredSample]) -> None:
        """Add samples. They survive a kill of this process."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab", buffering=0) as file:
            # JSON escapes line breaks, and ASCII all of Unicode, surrogates included.
            file.write(b"".join(json.dumps(asdict(sample)).encode() + b"\n" for sample in samples))
