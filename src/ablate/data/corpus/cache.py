"""The cache folder. Each folder in it is built once, by one process at a time, and is either complete or absent."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout
from platformdirs import user_cache_dir
from pydantic import TypeAdapter

from ablate.errors import FailureError

T = TypeVar("T")


def cache_folder(cache_dir: str | None) -> Path:
    """Return the configured cache folder, or the user's default one."""
    return Path(cache_dir).expanduser() if cache_dir else Path(user_cache_dir("ablate"))


@contextmanager
def locked(folder: Path) -> Iterator[Path]:
    """Let one process at a time build `folder`. Yield its work folder `<name>.work`, which outlives a kill.

    Raises:
        FailureError: the parent folder is not writable.
    """
    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, Timeout) as error:
        raise FailureError(
            f"{folder.parent}: cannot write the corpus cache ({error.strerror or error}). Choose another folder with "
            "cache_dir=…"
        ) from error
    try:
        yield folder.with_name(f"{folder.name}.work")
    finally:
        lock.release()


def build_once(folder: Path, build: Callable[[Path], None]) -> None:
    """Build a folder unless it is there. `build` gets the work folder of `locked`, and raises like it."""
    if not folder.is_dir():
        with locked(folder) as work:
            if not folder.is_dir():
                build(work)


@contextmanager
def atomic_directory(folder: Path) -> Iterator[Path]:
    """Yield a scratch folder that is renamed to `folder` if the block succeeds, and removed otherwise."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield scratch
        scratch.chmod(0o755)
        try:
            scratch.rename(folder)
        except OSError:
            # Another process was faster and its folder is equivalent.
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def resume_work(work: Path, recipe: bytes) -> None:
    """Keep the results of an interrupted command if its recipe was the same; otherwise start with an empty folder.

    Args:
        work: the folder that `locked` yields.
        recipe: everything that decides the result. Workers read it from `recipe.json` in the folder.
    """
    path = work / "recipe.json"
    if work.is_dir() and not (path.is_file() and path.read_bytes() == recipe):
        remove(work)
    work.mkdir(exist_ok=True)
    path.write_bytes(recipe)


def remove(folder: Path) -> None:
    """Delete a folder of the cache. If the process is killed meanwhile, nothing that looks complete remains."""
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    folder.rename(scratch / folder.name)
    shutil.rmtree(scratch)


def link(path: Path, target: Path) -> None:
    """Create a hard link, or a copy where the file system has no links."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copy2(path, target)


def read_checked(path: Path, adapter: TypeAdapter[T]) -> T:
    """Read a JSON file of the cache. Raises FailureError if this version of ablate cannot read it."""
    try:
        return adapter.validate_json(path.read_bytes())
    except (OSError, ValueError):
        raise FailureError(
            f"{path}: not written by this version of ablate, or damaged. Delete the folder {path.parent}."
        ) from None
