"""A source in which the documents of one group (a repository, a package, a work) are one long document."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ablate.data.corpus.cache import atomic_directory, build_once
from ablate.data.tokens.token_source import TokenSource
from ablate.objectives.example import Tokens

_FILES = ("places", "starts", "is_joined", "groups")


@dataclass(frozen=True)
class GroupedSource:
    """The groups of a source, one after the other. A separator stands between the files of a group.

    Attributes:
        source: the documents.
        group_files: a file per shard with a hash of each document's group, as 64-bit integers.
        opening_tokens: number of `<|endoftext|>` that begin a document; only the first one of a group keeps them.
        separator: takes the place of the `<|endoftext|>` that ends a document, except in the last one of a group.
        folder: the table of documents, sorted by group; made if it is missing. `places` has each document's first token
            here, then the end; `starts` its first token in the source; `is_joined` whether its group goes on after it;
            `groups` the number of documents before each group, then of all.
    """

    source: TokenSource
    group_files: tuple[Path, ...]
    opening_tokens: int
    separator: int
    folder: Path

    @cached_property
    def _table(self) -> dict[str, NDArray[np.int64]]:
        """The arrays of `folder`, memory-mapped."""
        build_once(self.folder, lambda _: self._make())
        return {name: np.load(self.folder / f"{name}.npy", mmap_mode="r") for name in _FILES}

    def _make(self) -> None:
        """Sort the documents by group; takes some 50 bytes of memory per document."""
        group_D = np.concatenate([np.fromfile(path, np.uint64) for path in self.group_files])
        extents = list(self.source.extents())
        start_D, end_D = (np.concatenate(column) for column in zip(*extents, strict=True))
        order_D = np.argsort(group_D, kind="stable")
        group_D, start_D, end_D = group_D[order_D], start_D[order_D], end_D[order_D]
        is_first_D = np.append(True, group_D[1:] != group_D[:-1])
        start_D = start_D + np.where(is_first_D, 0, self.opening_tokens)
        arrays = (
            np.append(0, np.cumsum(end_D - start_D)),
            start_D,
            ~np.append(is_first_D[1:], True),
            np.append(np.flatnonzero(is_first_D), len(group_D)),
        )
        with atomic_directory(self.folder) as scratch:
            for name, array in zip(_FILES, arrays, strict=True):
                np.save(scratch / f"{name}.npy", array)

    @property
    def documents(self) -> int:
        """Number of groups."""
        return len(self._table["groups"]) - 1

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return int(self._table["places"][-1])

    def extents(self, at_once: int = 2**20) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield where groups start and end, `at_once` groups at a time."""
        for first in range(0, self.documents, at_once):
            border_G = self._table["places"][self._table["groups"][first : first + at_once + 1]]
            yield border_G[:-1], border_G[1:]

    def read(self, first: int, last: int) -> Tokens:
        """Return the tokens first … last − 1. Raises FailureError if a shard was changed since it was written."""
        places_D, starts_D, is_joined_D = (self._table[name] for name in _FILES[:3])
        number = int(np.searchsorted(places_D, first, side="right")) - 1
        parts = []
        while first < last:
            before, after = places_D[number : number + 2].tolist()
            start, end = int(starts_D[number]) - before + first, min(last, after)
            part_T = self.source.read(start, start + end - first)
            if end == after and is_joined_D[number]:
                part_T = np.append(part_T[:-1], np.int32(self.separator))
            parts.append(part_T)
            first, number = end, number + 1
        return np.concatenate(parts) if parts else np.zeros(0, np.int32)
