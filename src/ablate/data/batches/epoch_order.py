"""In which order a source's rows are read, over all epochs, in closed form."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

_ROUNDS = 6


@dataclass(frozen=True)
class EpochOrder:
    """Each epoch reads each of the rows once, in an order of its own.

    Attributes:
        rows: number of rows of the source.
        read: how many of them are read. They are a prefix of one order for all epochs, so fewer rows are a subset of
            more.
        key: what the orders are drawn from.
    """

    rows: int
    read: int
    key: str

    @cached_property
    def _epoch(self) -> Callable[[int], "KeyedPermutation"]:
        return lru_cache(maxsize=4)(lambda epoch: KeyedPermutation(self.read, f"windows/{self.key}/{epoch}"))

    @cached_property
    def _subset(self) -> "KeyedPermutation":
        return KeyedPermutation(self.rows, f"subset/{self.key}")

    def index(self, rank: int) -> int:
        """Return the row that is read after `rank` others."""
        epoch, turn = divmod(rank, self.read)
        row = self._epoch(epoch)(turn)
        return row if self.read == self.rows else self._subset(row)

    def first_rank(self, rank: int) -> int:
        """Return the rank at which the row of `rank` is read for the first time."""
        epoch, turn = divmod(rank, self.read)
        return self._epoch(0).inverse(self._epoch(epoch)(turn))


@dataclass(frozen=True)
class KeyedPermutation:
    """A permutation of range(size) as a function of a key, without a table.

    A Feistel network over the next even number of bits, repeated until the result lies in the range (Black and Rogaway,
    "Ciphers with arbitrary finite domains", CT-RSA 2002); fewer than four rounds of it on average.

    >>> permutation = KeyedPermutation(5, "key")
    >>> sorted(permutation(index) for index in range(5))
    [0, 1, 2, 3, 4]
    >>> permutation.inverse(permutation(3))
    3
    """

    size: int
    key: str

    def __call__(self, index: int) -> int:
        """Return the image of `index`."""
        assert 0 <= index < self.size
        half_bits, mask = self._halves
        while True:
            left, right = index >> half_bits, index & mask
            for number in range(_ROUNDS):
                left, right = right, left ^ (self._noise(number, right) & mask)
            index = left << half_bits | right
            if index < self.size:
                return index

    def inverse(self, index: int) -> int:
        """Return the index whose image is `index`."""
        assert 0 <= index < self.size
        half_bits, mask = self._halves
        while True:
            left, right = index >> half_bits, index & mask
            for number in reversed(range(_ROUNDS)):
                left, right = right ^ (self._noise(number, left) & mask), left
            index = left << half_bits | right
            if index < self.size:
                return index

    @cached_property
    def _halves(self) -> tuple[int, int]:
        """Bits of a half, and their mask."""
        half_bits = max(1, ((self.size - 1).bit_length() + 1) // 2)
        return half_bits, (1 << half_bits) - 1

    def _noise(self, number: int, value: int) -> int:
        message = f"{self.key}\x1f{number}\x1f{value}".encode()
        return int.from_bytes(hashlib.blake2b(message, digest_size=8).digest(), "little")
