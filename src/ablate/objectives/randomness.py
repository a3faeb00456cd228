"""Randomness as a function of what it is for, so that no draw depends on an earlier one."""

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray


@lru_cache(maxsize=64)
def key64(*parts: int | str) -> int:
    """A 64-bit key of the parts; the same parts give the same key on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def keyed_rng(data_seed: int, row: int, name: str) -> np.random.Generator:
    """The generator of one transform of one row: keyed by (data_seed, row, name), independent of all others.

    Philox is counter-based, so its key alone makes the stream; nothing is drawn to get there.
    """
    return np.random.Generator(np.random.Philox(_Key(key64(data_seed, name), row)))  # type: ignore[arg-type]  # the stubs know one ISeedSequence only


class _Key(ISeedSequence):
    """A Philox key as it is: `Philox(key=…)` makes the same stream, but first asks the system for entropy."""

    def __init__(self, *words: int) -> None:
        self.words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint64) -> NDArray[Any]:
        """The key's two words."""
        return np.array(self.words, dtype)
