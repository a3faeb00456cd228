"""Whole documents packed into rows: best-fit decreasing (Ding et al. 2024, "Fewer truncations improve language
modeling", section 3), in blocks of documents, so memory does not grow with the source.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ablate.data.corpus.cache import atomic_directory, build_once
from ablate.objectives.example import Tokens

BLOCK_DOCUMENTS = 4096
_FILES = ("rows", "starts", "lengths")


def packed(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Distribute segments over rows: the longest first, each into the row that it leaves the least room in.

    Args:
        lengths: of the segments, at most `capacity` each.
        capacity: of a row.

    Returns:
        The segments of each row.

    >>> packed([3, 5, 2, 4], 7)
    [[1, 2], [0, 3]]
    """
    rows: list[list[int]] = []
    # (room, row), sorted.
    open_rows: list[tuple[int, int]] = []
    for segment in sorted(range(len(lengths)), key=lambda segment: -lengths[segment]):
        place = bisect_left(open_rows, (lengths[segment], -1))
        if place < len(open_rows):
            room, row = open_rows.pop(place)
        else:
            room, row = capacity, len(rows)
            rows.append([])
        rows[row].append(segment)
        if room > lengths[segment]:
            insort(open_rows, (room - lengths[segment], row))
    # In the order of the source.
    return [sorted(row) for row in rows]


class Documents(Protocol):
    """Documents of tokens, one after the other."""

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        ...

    @property
    def documents(self) -> int:
        """Number of documents."""
        ...

    def extents(self, at_once: int = ...) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield where documents start and end, `at_once` documents at a time."""
        ...

    def read(self, first: int, last: int) -> Tokens:
        """Return the tokens first … last − 1."""
        ...


@dataclass(frozen=True)
class BestFit:
    """A source in rows of whole documents. A document longer than `window_tokens` is split into full rows and a rest.

    Attributes:
        source: the documents.
        window_tokens: the most that a row holds.
        folder: holds the table of segments, and is made if it is missing. The file `rows` has the number of segments
            before each row, then of all segments; `starts` and `lengths` have each segment's first token and length.
    """

    source: Documents
    window_tokens: int
    folder: Path

    @cached_property
    def _table(self) -> dict[str, NDArray[np.int64]]:
        """The files of `folder`, memory-mapped."""
        build_once(self.folder, lambda _: self._make())
        return {name: np.memmap(self.folder / name, np.int64, "r") for name in _FILES}

    def _make(self) -> None:
        with atomic_directory(self.folder) as scratch:
            files: dict[str, Any] = {name: (scratch / name).open("wb") for name in _FILES}
            files["rows"].write(np.zeros(1, np.int64).tobytes())
            segments = 0
            for start_N, length_N in self._segments():
                rows = packed(length_N.tolist(), self.window_tokens)
                order_N = np.concatenate([*rows, []]).astype(np.int64)
                after_R = segments + np.cumsum([len(row) for row in rows])
                segments += len(order_N)
                for name, values in zip(_FILES, (after_R, start_N[order_N], length_N[order_N]), strict=True):
                    files[name].write(values.astype(np.int64).tobytes())
            for file in files.values():
                file.close()

    def _segments(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield first tokens and lengths of the segments of each block."""
        for start_D, end_D in self.source.extents(BLOCK_DOCUMENTS):
            count_D = -(-(end_D - start_D) // self.window_tokens)
            turn_N = np.arange(count_D.sum()) - np.repeat(np.cumsum(count_D) - count_D, count_D)
            start_N = np.repeat(start_D, count_D) + turn_N * self.window_tokens
            yield start_N, np.minimum(self.window_tokens, np.repeat(end_D, count_D) - start_N)

    @property
    def count(self) -> int:
        """See `Rows`."""
        return len(self._table["rows"]) - 1

    @property
    def padding_fraction(self) -> float:
        """See `Rows`."""
        return 1 - self.source.tokens / max(1, self.count * self.window_tokens)

    @property
    def split_fraction(self) -> float:
        """See `Rows`."""
        split = sum(int(np.count_nonzero(end - start > self.window_tokens)) for start, end in self.source.extents())
        return split / self.source.documents

    def read(self, index: int) -> tuple[Tokens, tuple[int, ...]]:
        """See `Rows`."""
        segments = slice(*self._table["rows"][index : index + 2].tolist())
        starts, lengths = (self._table[name][segments].tolist() for name in ("starts", "lengths"))
        parts = [self.source.read(start, start + length) for start, length in zip(starts, lengths, strict=True)]
        return np.concatenate(parts), tuple(lengths)
