"""Atomic, durable writing of files, and reading of JSON."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from ablate.errors import FailureError, LedgerError, NewerFormatError, StorageError

# With less than this, the next checkpoint or log cannot be written.
FULL_BYTES = 2**20


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a scratch path that replaces `path` when the block succeeds and is removed when it fails.

    Raises:
        StorageError: the file cannot be written.
    """
    scratch = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        scratch = Path(name)
        yield scratch
        sync(scratch)
        scratch.chmod(0o644)
        scratch.replace(path)
    except OSError as error:
        raise StorageError(path, "cannot be written", error) from error
    finally:
        if scratch is not None:
            scratch.unlink(missing_ok=True)


def full_disk(path: Path) -> str | None:
    """Return what to say if the disk of a folder is full, or None."""
    try:
        free_bytes = shutil.disk_usage(path).free
    except OSError:
        return None
    if free_bytes >= FULL_BYTES:
        return None
    return (
        f"{path}: the disk is full ({free_bytes / 2**20:.1f} MiB are free). Free some space, or choose another folder"
    )


@contextmanager
def naming_full_disk(path: Path, key: str) -> Iterator[None]:
    """Inside the block an error of a full disk names the folder and the key that moves it. Raises FailureError."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        # Libraries do not name the file.
        message = (
            full_disk(path) or f"{path}: the disk or your quota is full. Free some space, or choose another folder"
        )
        raise FailureError(f"{message} with {key}=…; the same command goes on.") from error


def sync(path: Path) -> None:
    """Flush a file's content, or a folder's list of names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex. Raises FailureError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FailureError(f"{path}: cannot be read ({error.strerror}).") from None


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises ValueError for other text."""
    # Twice as fast as `json.loads`: some commands read thousands of records.
    return from_json(path.read_bytes())


def read_versioned(path: Path, known_format: int) -> dict[str, Any]:
    """Return the content of a JSON file with a `format` number.

    Raises:
        FileNotFoundError: there is no file.
        StorageError: the file cannot be read.
        LedgerError: the file is damaged or has no format number.
        NewerFormatError: the format is newer than `known_format`.
    """
    try:
        content = read_json(path)
        is_newer = content["format"] > known_format
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise StorageError(path, "cannot be read", error) from error
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerError(
            f"{path}: is damaged or not a record of ablate ({type(error).__name__}: {error}). Move it away."
        ) from None
    if is_newer:
        raise NewerFormatError(
            f"{path}: written by a newer ablate (format {content['format']}, this one knows {known_format}). "
            "Update ablate, or choose another runs_dir."
        )
    assert isinstance(content, dict)
    return content
