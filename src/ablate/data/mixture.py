"""Which source each row comes from, in closed form.

Rows are apportioned in blocks: after every block each source has its share of all rows so far, to within one row.
Inside a block the sources' rows are permuted by the data seed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ablate.errors import UsageError
from ablate.objectives.randomness import keyed_rng

BLOCK_ROWS = 1000


@dataclass(frozen=True)
class Mixture:
    """Weighted sources, those with weight 0 left out."""

    weights: Mapping[str, float]
    data_seed: int

    def __post_init__(self) -> None:
        for source, weight in self.weights.items():
            # Two cumulative sums, each rounded, can only move apart if a block adds two rows or more to the source.
            if 0 < weight * BLOCK_ROWS < 2 * sum(self.weights.values()):
                raise UsageError(
                    f"mixture.weights.{source}={weight:g}: less than {2 / BLOCK_ROWS:.1%} of the rows. "
                    "Give it more, or 0 to leave it out."
                )

    @cached_property
    def _blocks(self) -> Callable[[int], tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """`_block` with the newest blocks kept: rows are mostly asked for in their order."""
        return lru_cache(maxsize=4)(self._block)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The sources that rows can come from, sorted: the order of the YAML means nothing. `source_B` counts so."""
        return tuple(sorted(source for source, weight in self.weights.items() if weight > 0))

    def _rows_before(self, block: int) -> list[int]:
        """How many rows the first `block` blocks took from each source; their sum is block × BLOCK_ROWS."""
        total = sum(self.weights.values())
        rows = block * BLOCK_ROWS
        borders, cumulative = [0], 0.0
        for source in self.sources[:-1]:
            cumulative += self.weights[source] / total
            borders.append(int(cumulative * rows + 0.5))
        borders.append(rows)
        return [upper - lower for lower, upper in pairwise(borders)]

    def _block(self, block: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Source of each row of a block, and how many earlier rows of the stream came from that source."""
        before, after = self._rows_before(block), self._rows_before(block + 1)
        counts = np.subtract(after, before)
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
