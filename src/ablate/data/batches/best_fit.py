"""Whole documents packed into rows: best-fit decreasing (Ding et al. 2024, "Fewer truncations improve language
modeling", section 3), inside blocks of documents, so that the size of a source decides nothing.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.data.corpus.cache import atomic_directory, held
from ablate.data.tokens.token_source import TokenSource
from ablate.objectives.example import Tokens

BLOCK_DOCUMENTS = 4096


def packed(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Which pieces share a row: the longest first, each where it leaves the least room.

    Args:
        lengths: of the pieces, none above the capacity.
        capacity: of a row.

    >>> packed([3, 5, 2, 4], 7)
    [[1, 2], [0, 3]]
    """
    rows: list[list[int]] = []
    # (room, row), sorted.
    open_rows: list[tuple[int, int]] = []
    for piece in sorted(range(len(lengths)), key=lambda piece: -lengths[piece]):
        place = bisect_left(open_rows, (lengths[piece], -1))
        if place < len(open_rows):
            room, row = open_rows.pop(place)
        else:
            room, row = capacity, len(rows)
            rows.append([])
        rows[row].append(piece)
        if room > lengths[piece]:
            insort(open_rows, (room - lengths[piece], row))
    # As in the source: the longest come first only while rows are filled.
    return [sorted(row) for row in rows]


@dataclass(frozen=True)
class BestFit:
    """A source in rows of whole documents; one longer than `window_tokens` is cut into full rows and a rest.

    Attributes:
        source: the documents.
        window_tokens: the most that a row holds.
        folder: keeps which pieces make each row, as files of numbers: `rows` counts the pieces before each row and
            after the last, `starts` and `lengths` are the pieces'. It is made where it is missing.
    """

    source: TokenSource
    window_tokens: int
    folder: Path

    @cached_property
    def _table(self) -> dict[str, NDArray[np.int64]]:
        """By the names of `folder`, memory-mapped."""
        if not self.folder.is_dir():
            with held(self.folder):
                if not self.folder.is_dir():
                    self._make()
        return {name: np.memmap(self.folder / name, np.int64, "r") for name in _NAMES}

    def _make(self) -> None:
        with atomic_directory(self.folder) as scratch:
            files: dict[str, Any] = {name: (scratch / name).open("wb") for name in _NAMES}
            files["rows"].write(np.zeros(1, np.int64).tobytes())
            pieces = 0
            for start_N, length_N in self._pieces():
                rows = packed(length_N.tolist(), self.window_tokens)
                order_N = np.concatenate([*rows, []]).astype(np.int64)
                after_R = pieces + np.cumsum([len(row) for row in rows])
                pieces += len(order_N)
                for name, values in {"rows": after_R, "starts": start_N[order_N], "lengths": length_N[order_N]}.items():
                    files[name].write(values.astype(np.int64).tobytes())
            for file in files.values():
                file.close()

    def _pieces(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """First tokens and lengths of the pieces of each block."""
        for start_D, end_D in self.source.extents(BLOCK_DOCUMENTS):
            pieces_D = -(-(end_D - start_D) // self.window_tokens)
            turn_N = np.arange(pieces_D.sum()) - np.repeat(np.cumsum(pieces_D) - pieces_D, pieces_D)
            start_N = np.repeat(start_D, pieces_D) + turn_N * self.window_tokens
            yield start_N, np.minimum(self.window_tokens, np.repeat(end_D, pieces_D) - start_N)

    @property
    def count(self) -> int:
        """See `Rows`."""
        return len(self._table["rows"]) - 1

    @property
    def padding_share(self) -> float:
        """See `Rows`."""
        return 1 - self.source.tokens / max(1, self.count * self.window_tokens)

    @property
    def cut_share(self) -> float:
        """See `Rows`."""
        cut = sum(int(np.count_nonzero(end - start > self.window_tokens)) for start, end in self.source.extents())
        return cut / self.source.documents

    def read(self, index: int) -> tuple[Tokens, tuple[int, ...]]:
        """See `Rows`."""
        table = self._table
        pieces = slice(*table["rows"][index : index + 2].tolist())
        starts, lengths = table["starts"][pieces].tolist(), table["lengths"][pieces].tolist()
        parts = [self.source.read(start, start + length) for start, length in zip(starts, lengths, strict=True)]
        return np.concatenate(parts), tuple(lengths)


_NAMES = ("rows", "starts", "lengths")
