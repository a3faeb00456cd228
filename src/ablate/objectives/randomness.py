"""Random generators keyed by what they are for: no draw depends on an earlier one."""

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray


@lru_cache(maxsize=64)
def key64(*parts: int | str) -> int:
    """Hash the parts to 64 bits, alike on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def keyed_rng(data_seed: int, row: int, name: str) -> np.random.Generator:
    """Return the generator of one transform of one row, independent of all others.

    Philox is counter-based: the key alone defines the stream.
    """
    return np.random.Generator(np.random.Philox(_Key(key64(data_seed, name), row)))  # type: ignore[arg-type]  # the stubs know one ISeedSequence only


class _Key(ISeedSequence):
    """A raw Philox key. `Philox(key=…)` makes the same stream, but reads entropy of the system first."""

    def __init__(self, *words: int) -> None:
        self.words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint64) -> NDArray[Any]:
        """Return the two words of the key."""
        return np.array(self.words, dtype)
