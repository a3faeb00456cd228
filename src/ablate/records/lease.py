"""A lease on a trial: at most one process works on it, across hosts that share the folder.

Taking it is the exclusive create of `lease.<n>`; being alive is a fresh mtime; taking over from a dead holder is the
exclusive create of the next number, so that of many that try one gets it and nobody removes what another just took.
Ages are read off the file system's own clock, and where that clock was set, only a heart that does not beat while
one watches is dead. On one host a process is asked for by its number and birth. No flock, which NFS does not keep.
"""

import contextlib
import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from ablate.records.process import birth, is_running, this_host

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 60.0
# How long a silent lease is watched before its holder counts as dead: more than two heartbeats.
WATCH_SECONDS = 25.0
SECOND_LOOK_SECONDS = 1.0
# What a process ends with that lost its lease (EX_TEMPFAIL of sysexits.h).
LOST_EXIT_CODE = 75


class HeldElsewhereError(RuntimeError):
    """Another live process holds the lease."""


@dataclass(frozen=True)
class Holder:
    """Who took a lease."""

    host: str
    pid: int
    born: str | None
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host.split()[0]}"


UNKNOWN = Holder("unknown", 0, None, "")


def _end_process() -> None:
    print("Another process took this trial over, as this one was silent for too long. It ends.", file=sys.stderr)
    sys.stderr.flush()
    os._exit(LOST_EXIT_CODE)


class Lease:
    """Held inside a `with` block; a thread keeps it fresh.

    Args:
        folder: the trial's folder.
        on_lost: called in the thread when another process has taken over: two must not write one record, so by
            default this process ends at once.

    Raises:
        HeldElsewhereError: on entry, when a live process holds it.
    """

    def __init__(self, folder: Path, on_lost: Callable[[], None] = _end_process) -> None:
        self.folder = folder
        self.holder = Holder(this_host(), os.getpid(), birth(os.getpid()), uuid.uuid4().hex)
        self._on_lost = on_lost
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="lease", daemon=True)

    def __enter__(self) -> "Lease":
        # Listed before their holders are asked for: whoever comes later is not among the dead.
        self._dead = {path: _holder(path) for path in _leases(self.folder)}
        holder = live_holder(self.folder)
        if holder is not None:
            raise HeldElsewhereError(f"{holder} works on it")
        self._path = self.folder / f"lease.{max(map(_number, self._dead), default=0) + 1}"
        if not self._create():
            raise HeldElsewhereError("another process took it at this moment")
        # Somebody may have come, gone, and left room for a third since the dead were counted.
        others = {path: _holder(path) for path in _leases(self.folder) if path != self._path}
        if any(self._dead.get(path) != holder for path, holder in others.items()):
            self._path.unlink()
            raise HeldElsewhereError("another process took it at this moment")
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._heart.join()
        # Its own in any case: a lease that is left would name a process that lives on. The dead ones before it.
        for path, holder in {**self._dead, self._path: self.holder}.items():
            if _holder(path) == holder:
                path.unlink(missing_ok=True)

    def _create(self) -> bool:
        try:
            handle = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(handle, "w") as file:
            json.dump(asdict(self.holder), file)
        return True

    def _is_lost(self) -> bool:
        newest = _newest(self.folder)
        return newest != self._path or _holder(newest) != self.holder

    def _beat(self) -> None:
        pause_seconds = HEARTBEAT_SECONDS
        while not self._stop.wait(pause_seconds):
            started = time.monotonic()
            # A share that hiccups is no reason to end; one that stays away keeps others from taking over, too.
            with contextlib.suppress(OSError):
                # Twice: who takes over from the dead backs off from a lease that it had not seen, and is gone again.
                if self._is_lost() and not self._stop.wait(SECOND_LOOK_SECONDS) and self._is_lost():
                    self._on_lost()
                    return
                os.utime(self._path)
            # After a share was away for long, nobody waits before looking who came.
            pause_seconds = HEARTBEAT_SECONDS if time.monotonic() - started < STALE_SECONDS else 0.0


def live_holder(folder: Path, watch_seconds: float | None = None) -> Holder | None:
    """Who holds the lease and is alive, or None.

    Args:
        folder: the trial's folder.
        watch_seconds: how long to wait for a heartbeat of a process on another host whose last one is long ago or in
            the future; 0 to answer at once; by default more than two heartbeats.
    """
    path = _newest(folder)
    if path is None:
        return None
    try:
        beaten_at = path.stat().st_mtime_ns
        # What was just created and is not yet written is somebody's.
        holder = _holder(path) or UNKNOWN
        if holder.host == this_host():
            return holder if is_running(holder.pid, holder.born) else None
        age_seconds = _now(folder) - beaten_at / 1e9
        if -HEARTBEAT_SECONDS <= age_seconds < STALE_SECONDS:
            return holder
        deadline = time.monotonic() + (WATCH_SECONDS if watch_seconds is None else watch_seconds)
        while time.monotonic() < deadline:
            time.sleep(min(1.0, WATCH_SECONDS / 10))
            if path.stat().st_mtime_ns != beaten_at:
                return holder
    except FileNotFoundError:
        # Let go of, or taken over, while we looked.
        return live_holder(folder, watch_seconds)
    return None


def _number(path: Path) -> int:
    return int(path.suffix[1:])


def _leases(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.name.startswith("lease.") and path.suffix[1:].isdecimal()]
    except FileNotFoundError:
        return []


def _newest(folder: Path) -> Path | None:
    return max(_leases(folder), key=_number, default=None)


def _holder(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _now(folder: Path) -> float:
    """The file system's clock; this host's where nothing can be written."""
    probe = folder / f".now.{uuid.uuid4().hex}"
    try:
        probe.touch()
    except OSError:
        return time.time()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
