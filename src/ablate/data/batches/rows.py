"""What of a source makes a row."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ablate.data.tokens.token_source import TokenSource
from ablate.objectives.example import Tokens


class Rows(Protocol):
    """A source in rows, by number."""

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    @property
    def padding_share(self) -> float:
        """Of all places in rows, how many hold no token."""
        ...

    @property
    def cut_share(self) -> float:
        """Of all documents, how many are in more than one row."""
        ...

    def read(self, index: int) -> tuple[Tokens, tuple[int, ...]]:
        """A row's tokens, and how many of them come from one document each, in order."""
        ...


@dataclass(frozen=True)
class Windows:
    """The source cut every `window_tokens`, whatever the documents are; what is left at its end is not read."""

    source: TokenSource
    window_tokens: int

    @property
    def count(self) -> int:
        """See `Rows`."""
        return self.source.tokens // self.window_tokens

    @property
    def padding_share(self) -> float:
        """None."""
        return 0.0

    @property
    def cut_share(self) -> float:
        """See `Rows`."""
        cut = 0
        for start_D, end_D in self.source.extents():
            cut += int(np.count_nonzero(start_D // self.window_tokens != (end_D - 1) // self.window_tokens))
        return cut / self.source.documents

    def read(self, index: int) -> tuple[Tokens, tuple[int, ...]]:
        """See `Rows`."""
        first = index * self.window_tokens
        last = first + self.window_tokens
        return self.source.read(first, last), self.source.pieces(first, last)
