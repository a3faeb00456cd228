"""A source's train tokens: the documents of all its shards, one after the other."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from ablate.data.corpus.token_file import TokenFile
from ablate.objectives.example import Tokens


@dataclass(frozen=True)
class TokenSource:
    """Documents of tokens, one after the other. Reading checks the shards (see `TokenFile`).

    Attributes:
        files: the shards, in order.
        documents: how many documents belong to the source, from the first on; the others are held out.
        end_of_document: for pre-tokenized shards, (the id that ends their documents, our `<|endoftext|>`), or None.
    """

    files: tuple[TokenFile, ...]
    documents: int
    end_of_document: tuple[int, int] | None = None

    @cached_property
    def _first_tokens(self) -> list[int]:
        """First token of each file, then the end of the last."""
        return list(accumulate((file.tokens for file in self.files), initial=0))

    @cached_property
    def _first_documents(self) -> list[int]:
        return list(accumulate((file.documents for file in self.files), initial=0))

    @cached_property
    def tokens(self) -> int:
        """Number of tokens of the source's documents."""
        return self.start(self.documents)

    def start(self, document: int) -> int:
        """Return the first token of a document; for `documents`, the end of the last one."""
        number = min(bisect_right(self._first_documents, document), len(self.files)) - 1
        return self._first_tokens[number] + self.files[number].start(document - self._first_documents[number])

    def starts(self, first: int, last: int) -> NDArray[np.int64]:
        """Return the first tokens of the documents first … last − 1."""
        parts = [
            self._first_tokens[number] + file.starts(max(0, first - before), max(0, last - before))
            for number, (file, before) in enumerate(zip(self.files, self._first_documents, strict=False))
            if first < before + file.documents and last > before
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def extents(self, at_once: int = 2**20) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield where documents start and end, `at_once` documents at a time."""
        for first in range(0, self.documents, at_once):
            last = min(self.documents, first + at_once)
            start_D = self.starts(first, last)
            yield start_D, np.append(start_D[1:], self.start(last))

    def document_at(self, token: int) -> int:
        """Return the document that a token belongs to."""
        number = min(bisect_right(self._first_tokens, token), len(self.files)) - 1
        return self._first_documents[number] + self.files[number].document_at(token - self._first_tokens[number])

    def read(self, first: int, last: int) -> Tokens:
        """Return the tokens first … last − 1. Raises FailureError if a shard was changed since it was written."""
        number = bisect_right(self._first_tokens, first) - 1
        parts = []
        while first < last:
            before, after = self._first_tokens[number], self._first_tokens[number + 1]
            parts.append(self.files[number].read(first - before, min(last, after) - before))
            first, number = max(first, min(last, after)), number + 1
        if not parts:
            return np.zeros(0, np.int32)
        tokens_T = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if self.end_of_document is not None:
            theirs, ours = self.end_of_document
            tokens_T[tokens_T == theirs] = ours
        return tokens_T

    def segments(self, first: int, last: int) -> tuple[int, ...]:
        """Return the lengths of the document segments in the tokens first … last − 1."""
        starts = self.starts(self.document_at(first) + 1, self.document_at(last - 1) + 1)
        borders = [first, *starts.tolist(), last]
        return tuple(after - before for before, after in pairwise(borders))
