"""In which order a source's rows are read, over all epochs, in closed form."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from ablate.data.batches.permutation import Permutation


@dataclass(frozen=True)
class Order:
    """Each epoch reads each of the rows once, in an order of its own.

    Attributes:
        rows: of the source.
        read: how many of them are read. They are the first ones of an order that no epoch changes, so fewer are among
            more.
        key: what the orders are drawn from.
    """

    rows: int
    read: int
    key: str

    @cached_property
    def _epoch(self) -> Callable[[int], Permutation]:
        return lru_cache(maxsize=4)(lambda epoch: Permutation(self.read, f"windows/{self.key}/{epoch}"))

    @cached_property
    def _subset(self) -> Permutation:
        return Permutation(self.rows, f"subset/{self.key}")

    def index(self, rank: int) -> int:
        """The row that is read after `rank` others."""
        epoch, turn = divmod(rank, self.read)
        chosen = self._epoch(epoch)(turn)
        return chosen if self.read == self.rows else self._subset(chosen)

    def first_rank(self, rank: int) -> int:
        """How many were read before the row of `rank` was read for the first time."""
        epoch, turn = divmod(rank, self.read)
        return self._epoch(0).inverse(self._epoch(epoch)(turn))
