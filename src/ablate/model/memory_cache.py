"""Measured bytes of activations by shape, in the cache folder: a shape is measured once per version of torch and model.

cache_dir/memory.json    version → key → bytes
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

from ablate.errors import UserError
from ablate.files import read_json, write_json


def remembered(folder: Path, key: str, measure: Callable[[], Sequence[int]]) -> Sequence[int]:
    """Return what was measured for a key before, or measure it and keep it.

    A cache that cannot be read or written costs the time of measuring again, and nothing else.
    """
    path, name = folder / "memory.json", hashlib.sha256(key.encode()).hexdigest()[:16]
    known = _read(path)
    if name not in known:
        known[name] = list(measure())
        with suppress(UserError):
            write_json(path, {"version": _version(), "bytes": known})
    return known[name]


def _read(path: Path) -> dict[str, list[int]]:
    try:
        content = read_json(path)
        return dict(content["bytes"]) if content["version"] == _version() else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


@cache
def _version() -> str:
    """Return a digest of what the bytes depend on beside the shape: torch and the code of the model."""
    sources = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"\n".join([torch.__version__.encode(), *sources])).hexdigest()[:16]
