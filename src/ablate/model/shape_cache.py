"""Numbers that follow from a model's shape, in the cache folder: computed once per version of torch and of the code.

cache_dir/shapes.json    version → key → numbers
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

import ablate
from ablate.errors import UserError
from ablate.files import read_json, write_json

_SOURCES = ("model/*.py", "data/batches/*.py")
# By folder and key: a folder may not be writable.
_known: dict[tuple[Path, str], Sequence[int]] = {}


def remembered(folder: Path, key: str, compute: Callable[[], Sequence[int]]) -> Sequence[int]:
    """Return what was computed for a key before, or compute it and keep it.

    A cache that cannot be read or written costs the time of computing again, and nothing else.
    """
    path, name = folder / "shapes.json", hashlib.sha256(key.encode()).hexdigest()[:16]
    if (folder, name) not in _known:
        numbers = _read(path).get(name)
        if numbers is None:
            numbers = list(compute())
            with suppress(UserError):
                write_json(path, {"version": _version(), "numbers": {**_read(path), name: numbers}})
        _known[folder, name] = numbers
    return _known[folder, name]


def forget() -> None:
    """Forget what this process has read and computed."""
    _known.clear()


def _read(path: Path) -> dict[str, list[int]]:
    try:
        content = read_json(path)
        return dict(content["numbers"]) if content["version"] == _version() else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


@cache
def _version() -> str:
    """Return a digest of what the numbers depend on beside the shape: torch and the code of models and batches."""
    root = Path(ablate.__file__).parent
    sources = [path.read_bytes() for pattern in _SOURCES for path in sorted(root.glob(pattern))]
    # Importing torch takes two seconds, reading its version does not.
    return hashlib.sha256(b"\n".join([version("torch").encode(), *sources])).hexdigest()[:16]
