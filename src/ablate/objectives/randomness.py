"""Randomness as a function of what it is for, so that no draw depends on an earlier one."""

import hashlib

import numpy as np
from numpy.typing import NDArray


def key64(*parts: int | str) -> int:
    """A 64-bit key of the parts; the same parts give the same key on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def keyed_rng(data_seed: int, row: int, name: str) -> np.random.Generator:
    """The generator of one transform of one row: keyed by (data_seed, row, name), independent of all others.

    Philox is counter-based, so its key alone makes the stream; nothing is drawn to get there.
    """
    key: NDArray[np.uint64] = np.array([key64(data_seed, name), row], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))
