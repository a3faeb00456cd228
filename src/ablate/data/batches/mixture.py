"""Which source each row comes from, in closed form.

Rows are apportioned in small blocks: after every block each source has its share of the rows so far, to within a row
or two. Inside a block the sources' rows are permuted by the data seed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from ablate.config.trial import MixtureConfig
from ablate.objectives.randomness import keyed_rng

# A source can be a quarter of a block ahead or behind: of 10 000 rows that is less than 0.1%.
BLOCK_ROWS = 32


@dataclass(frozen=True)
class Stage:
    """Weights by source from a block on, in the order of `Mixture.sources`."""

    first_block: int
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Mixture:
    """Weighted sources, those that never weigh anything left out.

    Attributes:
        sources: what rows can come from, sorted: the order of the YAML means nothing. `source_B` counts so.
        stages: from the first row on.
        data_seed: the key of the order inside a block.
    """

    sources: tuple[str, ...]
    stages: tuple[Stage, ...]
    data_seed: int

    @classmethod
    def of(cls, config: MixtureConfig, data_seed: int, budget_rows: int) -> "Mixture":
        """The configured mixture of a budget of rows; its stages begin at the blocks next to their shares of it."""
        weights = [config.weights, *(stage.weights for stage in config.stages)]
        shares = [0.0, *(stage.from_fraction for stage in config.stages)]
        sources = sorted({source for given in weights for source, weight in given.items() if weight > 0})
        stages = tuple(
            Stage(round(share * budget_rows / BLOCK_ROWS), tuple(given.get(source, 0.0) for source in sources))
            for share, given in zip(shares, weights, strict=True)
        )
        return cls(tuple(sources), stages, data_seed)

    @cached_property
    def _blocks(self) -> Callable[[int], tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """`_block` with the newest blocks kept: rows are mostly asked for in their order."""
        return lru_cache(maxsize=16)(self._block)

    def _before(self, block: int) -> list[int]:
        """How many rows the first `block` blocks took from each source."""
        counts = [0] * len(self.sources)
        ends = [stage.first_block for stage in self.stages[1:]] + [block]
        for stage, end in zip(self.stages, ends, strict=True):
            blocks = max(0, min(block, end) - stage.first_block)
            for source, count in enumerate(apportioned(stage.weights, blocks * BLOCK_ROWS)):
                counts[source] += count
        return counts

    def _block(self, block: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Source of each row of a block, and how many earlier rows of the stream came from that source."""
        before = self._before(block)
        counts = np.subtract(self._before(block + 1), before)
        order = keyed_rng(self.data_seed, block, "mixture").permutation(BLOCK_ROWS)
        source_R = np.repeat(np.arange(len(counts)), counts)[order]
        rank_R = np.empty(BLOCK_ROWS, np.int64)
        for source, (first, count) in enumerate(zip(before, counts, strict=True)):
            rank_R[source_R == source] = np.arange(first, first + count)
        return source_R, rank_R

    def place(self, row: int) -> tuple[int, int]:
        """(index of the source, how many earlier rows came from it) of a row, without a look at earlier blocks."""
        block, index = divmod(row, BLOCK_ROWS)
        source_R, rank_R = self._blocks(block)
        return int(source_R[index]), int(rank_R[index])

    def row(self, source: int, rank: int, before: int) -> int:
        """The row, one of the first `before`, that `place` says this of."""
        low, high = 0, -(-before // BLOCK_ROWS)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._before(middle)[source] <= rank else (low, middle)
        source_R, rank_R = self._blocks(low)
        return low * BLOCK_ROWS + int(np.flatnonzero((source_R == source) & (rank_R == rank))[0])

    def counts(self, rows: int) -> list[int]:
        """How many of the first rows come from each source."""
        block, index = divmod(rows, BLOCK_ROWS)
        inside = np.bincount(self._blocks(block)[0][:index], minlength=len(self.sources))
        return [before + int(count) for before, count in zip(self._before(block), inside, strict=True)]


def apportioned(weights: Sequence[float], rows: int) -> list[int]:
    """Rows by weight. With a row more no count is smaller: each source takes its part of what those before it left.

    >>> [apportioned([0.5, 0.25, 0.25], rows) for rows in (1, 2, 3, 4)]
    [[1, 0, 0], [1, 1, 0], [2, 1, 0], [2, 1, 1]]
    """
    left = np.cumsum(weights[::-1])[::-1]
    counts = []
    for weight, rest in zip(weights, left, strict=True):
        count = int(rows * (weight / rest) + 0.5) if weight > 0 else 0
        counts.append(count)
        rows -= count
    return counts
