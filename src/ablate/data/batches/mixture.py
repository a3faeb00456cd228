"""Which source each row comes from, in closed form.

Rows are apportioned in small blocks: after every block, each source has its fraction of the rows so far, to within
one or two rows. In a block, the sources' rows are permuted by the data seed.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from ablate.config.data import MixtureConfig
from ablate.objectives.randomness import keyed_rng

# A source can be a quarter of a block ahead or behind: less than 0.1% of 10 000 rows.
BLOCK_ROWS = 32


@dataclass(frozen=True)
class MixtureStage:
    """Weights of the sources from a block on, in the order of `Mixture.sources`."""

    first_block: int
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Mixture:
    """Weighted sources, without those whose weight is always 0.

    Attributes:
        sources: their names, sorted, so the order of the YAML does not matter. `Batch.source_B` indexes them.
        stages: ascending; the first begins at row 0.
        data_seed: key of the order in a block.
    """

    sources: tuple[str, ...]
    stages: tuple[MixtureStage, ...]
    data_seed: int

    @classmethod
    def of(cls, config: MixtureConfig, data_seed: int, budget_rows: int) -> "Mixture":
        """Return the configured mixture. A stage begins at the block nearest to its fraction of the budget."""
        weights = [config.weights, *(stage.weights for stage in config.stages)]
        fractions = [0.0, *(stage.from_fraction for stage in config.stages)]
        sources = sorted({source for by_source in weights for source, weight in by_source.items() if weight > 0})
        stages = tuple(
            MixtureStage(
                round(fraction * budget_rows / BLOCK_ROWS), tuple(by_source.get(source, 0.0) for source in sources)
            )
            for fraction, by_source in zip(fractions, weights, strict=True)
        )
        return cls(tuple(sources), stages, data_seed)

    @cached_property
    def _blocks(self) -> Callable[[int], tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """`_block` with a cache: most rows are read in order."""
        return lru_cache(maxsize=16)(self._block)

    def _before(self, block: int) -> list[int]:
        """Return how many rows of the first `block` blocks come from each source."""
        counts = [0] * len(self.sources)
        ends = [stage.first_block for stage in self.stages[1:]] + [block]
        for stage, end in zip(self.stages, ends, strict=True):
            blocks = max(0, min(block, end) - stage.first_block)
            for source, count in enumerate(apportioned(stage.weights, blocks * BLOCK_ROWS)):
                counts[source] += count
        return counts

    def _block(self, block: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the source of each row of a block, and how many earlier rows come from that source."""
        before = self._before(block)
        counts = np.subtract(self._before(block + 1), before)
        order = keyed_rng(self.data_seed, block, "mixture").permutation(BLOCK_ROWS)
        source_R = np.repeat(np.arange(len(counts)), counts)[order]
        rank_R = np.empty(BLOCK_ROWS, np.int64)
        for source, (first, count) in enumerate(zip(before, counts, strict=True)):
            rank_R[source_R == source] = np.arange(first, first + count)
        return source_R, rank_R

    def place(self, row: int) -> tuple[int, int]:
        """Return a row's source and how many earlier rows come from it, without reading earlier blocks."""
        block, index = divmod(row, BLOCK_ROWS)
        source_R, rank_R = self._blocks(block)
        return int(source_R[index]), int(rank_R[index])

    def row(self, source: int, rank: int, before: int) -> int:
        """Return the row with this `place`, which must be one of the first `before` rows."""
        blocks = range(-(-before // BLOCK_ROWS))
        block = bisect_right(blocks, rank, key=lambda block: self._before(block)[source]) - 1
        source_R, rank_R = self._blocks(block)
        return block * BLOCK_ROWS + int(np.flatnonzero((source_R == source) & (rank_R == rank))[0])

    def counts(self, rows: int) -> list[int]:
        """Return how many of the first `rows` rows come from each source."""
        block, index = divmod(rows, BLOCK_ROWS)
        inside = np.bincount(self._blocks(block)[0][:index], minlength=len(self.sources))
        return [before + int(count) for before, count in zip(self._before(block), inside, strict=True)]


def apportioned(weights: Sequence[float], rows: int) -> list[int]:
    """Divide rows by weight. Each source gets its part of what the sources before it left, so more rows never make a
    count smaller.

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
