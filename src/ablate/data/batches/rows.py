"""How a source's tokens are divided into rows."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ablate.config.data import MixtureConfig
from ablate.data.batches.best_fit import BestFit
from ablate.data.tokens.grouped_source import GroupedSource
from ablate.data.tokens.shards import Shards
from ablate.data.tokens.token_source import TokenSource
from ablate.objectives.example import Tokens


class Rows(Protocol):
    """A source in numbered rows."""

    @property
    def count(self) -> int:
        """Number of rows."""
        ...

    @property
    def padding_fraction(self) -> float:
        """Fraction of positions that hold no token."""
        ...

    @property
    def split_fraction(self) -> float:
        """Fraction of documents that lie in more than one row."""
        ...

    def read(self, index: int) -> tuple[Tokens, tuple[int, ...]]:
        """Return a row's tokens, and the lengths of its document segments."""
        ...


def packed_rows(shards: Shards, source: str, mixture: MixtureConfig, window_tokens: int) -> Rows:
    """Return a source's train tokens in rows of at most `window_tokens`.

    Raises:
        UsageError: the mixture packs groups, and the source has none.
    """
    tokens, folder = shards.source(source), shards.folder / "packed"
    if mixture.packing == "windows":
        return Windows(tokens, window_tokens)
    if mixture.packing == "best_fit":
        return BestFit(tokens, window_tokens, folder / f"{window_tokens}.{source}")
    grouped = GroupedSource(
        tokens,
        shards.group_files(source),
        int(mixture.leading_end_of_text),
        shards.tokenizer.special.separator,
        folder / f"groups.{source}",
    )
    return BestFit(grouped, window_tokens, folder / f"groups.{window_tokens}.{source}")


@dataclass(frozen=True)
class Windows:
    """Rows of exactly `window_tokens`, regardless of documents; the rest at the source's end is not read."""

    source: TokenSource
    window_tokens: int

    @property
    def count(self) -> int:
        """See `Rows`."""
        return self.source.tokens // self.window_tokens

    @property
    def padding_fraction(self) -> float:
        """See `Rows`."""
        return 0.0

    @property
    def split_fraction(self) -> float:
        """See `Rows`."""
        split = 0
        for start_D, end_D in self.source.extents():
            split += int(np.count_nonzero(start_D // self.window_tokens != (end_D - 1) // self.window_tokens))
        return split / self.source.documents

    def read(self, index: int) -> tuple[Tokens, tuple[int, ...]]:
        """See `Rows`."""
        first = index * self.window_tokens
        last = first + self.window_tokens
        return self.source.read(first, last), self.source.segments(first, last)
