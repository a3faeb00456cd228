"""The folder of the cache, and its folders that are made once: whole or not there, by one process at a time."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_cache_dir

from ablate.errors import FailureError


def cache_folder(cache_dir: str | None) -> Path:
    """The given folder, or the user's cache folder."""
    return Path(cache_dir).expanduser() if cache_dir else Path(user_cache_dir("ablate"))


@contextmanager
def held(folder: Path) -> Iterator[Path]:
    """Lets one process at a time make a folder; gives the work folder beside it, which outlives a kill.

    Raises:
        FailureError: nothing can be written there.
    """
    lock = FileLock(beside(folder, "lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, Timeout) as error:
        raise FailureError(
            f"{folder.parent}: cannot write the cache of corpora ({error.strerror or error}). Choose another place "
            "with cache_dir=…"
        ) from error
    try:
        yield beside(folder, "work")
    finally:
        lock.release()


def beside(folder: Path, kind: str) -> Path:
    """The folder's path with something after it."""
    return folder.with_name(f"{folder.name}.{kind}")


@contextmanager
def atomic_directory(folder: Path) -> Iterator[Path]:
    """A scratch folder that becomes `folder` when the block ends well, and is gone otherwise."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield scratch
        scratch.chmod(0o755)
        try:
            scratch.rename(folder)
        except OSError:
            # Another process was faster; its folder is as good as ours.
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def resume_task(work: Path, recipe: bytes) -> None:
    """Keeps what an interrupted command left in a work folder where it was made from the same; else begins anew.

    Args:
        work: from `held`.
        recipe: what is made from; written into the folder as `recipe.json`, for the workers.
    """
    path = work / "recipe.json"
    if work.is_dir() and not (path.is_file() and path.read_bytes() == recipe):
        remove(work)
    work.mkdir(exist_ok=True)
    path.write_bytes(recipe)


def remove(folder: Path) -> None:
    """Removes a folder of the cache; a kill in the middle leaves nothing that looks whole."""
    going = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    folder.rename(going / folder.name)
    shutil.rmtree(going)


def link(path: Path, target: Path) -> None:
    """The same file under another name, copied where the file system can't."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copy2(path, target)
