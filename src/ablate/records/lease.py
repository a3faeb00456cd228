"""A lease on a trial: at most one process works on it, across hosts that share the folder.

Taking it is an exclusive create; being alive is a fresh mtime. Ages are read off the file system's own clock, by a
file touched beside the lease, so that hosts need not agree on the time; no flock, which NFS does not keep.
"""

import _thread
import contextlib
import json
import os
import socket
import threading
import uuid
from pathlib import Path
from types import TracebackType

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 60.0


class HeldElsewhereError(RuntimeError):
    """Another live process holds the lease."""


class Lease:
    """Held inside a `with` block; a thread keeps it fresh.

    Raises:
        HeldElsewhereError: on entry, when a live process holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.token = uuid.uuid4().hex
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="lease", daemon=True)

    def __enter__(self) -> "Lease":
        if not self._create():
            holder = live_holder(self.path)
            if holder is not None:
                raise HeldElsewhereError(f"process {holder['pid']} on {holder['host']} works on it")
            discard_stale(self.path)
            if not self._create():
                raise HeldElsewhereError("another process took it over at this moment")
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._heart.join()
        if (_holder(self.path) or {}).get("token") == self.token:
            self.path.unlink(missing_ok=True)

    def _create(self) -> bool:
        try:
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return False
        with os.fdopen(handle, "w") as file:
            json.dump({"host": socket.gethostname(), "pid": os.getpid(), "token": self.token}, file)
        return True

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            holder = _holder(self.path)
            if holder is not None and holder.get("token") != self.token:
                # This process slept too long and another has taken over: two must not write one record.
                _thread.interrupt_main()
                return
            with contextlib.suppress(OSError):
                os.utime(self.path)


def live_holder(path: Path) -> dict[str, str] | None:
    """Who holds the lease and is alive, or None."""
    try:
        age_seconds = _now(path) - path.stat().st_mtime
    except FileNotFoundError:
        return None
    holder = _holder(path)
    if holder is None:
        # Just created and not yet written, or its writer died at that moment.
        return {"host": "unknown", "pid": "unknown"} if age_seconds < STALE_SECONDS else None
    if holder["host"] == socket.gethostname() and not _is_running(int(holder["pid"])):
        return None
    return holder if age_seconds < STALE_SECONDS else None


def discard_stale(path: Path) -> None:
    """Removes a lease whose holder is gone; of several that try, each moves at most the lease that it saw."""
    seen = _holder(path)
    grave = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        path.rename(grave)
    except FileNotFoundError:
        return
    if _holder(grave) != seen:
        # In between, someone else buried the stale one and took a fresh lease: give it back.
        with contextlib.suppress(FileExistsError):
            os.link(grave, path)
    grave.unlink()


def _holder(path: Path) -> dict[str, str] | None:
    try:
        holder = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    assert isinstance(holder, dict)
    return holder


def _now(path: Path) -> float:
    probe = path.with_name(f".now.{uuid.uuid4().hex}")
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
