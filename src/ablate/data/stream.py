"""Row r's window of source text: a pure function of (tokens, mixture, data seed, r)."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablate.config import MixtureConfig
from ablate.data.mixture import Mixture
from ablate.data.permutation import Permutation
from ablate.data.shards import Shards
from ablate.errors import FailureError
from ablate.objectives.example import Tokens


@dataclass(frozen=True)
class Window:
    """Consecutive tokens of one source.

    Attributes:
        tokens_T: the tokens.
        document_T: the document of each, non-decreasing.
        source: index of the source.
        index: which window of the source.
        epoch: how often the source was read before.
    """

    tokens_T: Tokens
    document_T: NDArray[np.signedinteger]
    source: int
    index: int
    epoch: int


class Stream:
    """Windows by row number. Each epoch of a source reads each of its windows once, in an order of its own."""

    def __init__(self, shards: Shards, mixture: MixtureConfig, window_tokens: int, data_seed: int) -> None:
        self.window_tokens = window_tokens
        self.data_seed = data_seed
        self.mixture = Mixture(mixture.weights, data_seed)
        self.sources = self.mixture.sources
        self._tokens = [shards.tokens(source) for source in self.sources]
        self._starts = [shards.starts(source) for source in self.sources]
        self._windows = [len(tokens) // window_tokens for tokens in self._tokens]
        for source, tokens, windows in zip(self.sources, self._tokens, self._windows, strict=True):
            if windows == 0:
                raise FailureError(
                    f"The source {source} has {len(tokens)} train tokens, less than one window of {window_tokens} "
                    "(scale.window_tokens). Give it more text or shorten the window."
                )
        self.fingerprint = hashlib.sha256(f"{shards.fingerprint}\n{self.sources}\n{window_tokens}".encode()).hexdigest()

    def place(self, row: int) -> tuple[int, int, int]:
        """(source, window of that source, epoch) of a row."""
        source, rank = self.mixture.place(row)
        epoch, turn = divmod(rank, self._windows[source])
        order = Permutation(self._windows[source], f"windows/{self.data_seed}/{self.sources[source]}/{epoch}")
        return source, order(turn), epoch

    def window(self, row: int) -> Window:
        """The window of a row."""
        source, index, epoch = self.place(row)
        first = index * self.window_tokens
        tokens_T = self._tokens[source][first : first + self.window_tokens].astype(np.int32)
        positions_T = np.arange(first, first + self.window_tokens)
        document_T = np.searchsorted(self._starts[source], positions_T, side="right")
        return Window(tokens_T, document_T, source, index, epoch)
