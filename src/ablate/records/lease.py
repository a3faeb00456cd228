"""A lease on a trial: at most one process works on it, across hosts that share the folder.

A process acquires the lease by creating `lease.<n>` exclusively, and keeps it by a heartbeat: the file's mtime. It
takes over from a dead holder by creating the next number, also exclusively: one of many contenders succeeds, and none
removes a lease that another just acquired. Ages are measured by the file system's clock. If that clock was set, a
holder counts as dead only when no heartbeat comes while we watch. On the same host the holder is checked by its pid and
start time. `flock` is not used, because NFS does not keep it.
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

from ablate.errors import LedgerError
from ablate.records.process import birth, is_running, this_host

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 60.0
# How long a silent lease is watched before its holder counts as dead: more than two heartbeats.
WATCH_SECONDS = 25.0
SECOND_LOOK_SECONDS = 1.0
# Exit code of a process that lost its lease: EX_TEMPFAIL of sysexits.h.
LOST_EXIT_CODE = 75


class LockedError(LedgerError):
    """Another live process holds the lease."""


@dataclass(frozen=True)
class Holder:
    """The process that acquired a lease."""

    host: str
    pid: int
    born: str | None
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host.split()[0]}"


UNKNOWN = Holder("unknown", 0, None, "")


def _end_process() -> None:
    print(
        "Another process took over this trial, because this one sent no heartbeat for too long. Exiting.",
        file=sys.stderr,
    )
    sys.stderr.flush()
    os._exit(LOST_EXIT_CODE)


class Lease:
    """A context manager that holds the lease; a thread sends its heartbeat.

    Args:
        folder: the trial's folder.
        on_lost: called in the thread when another process has taken over. Two processes must not write one record, so
            the default ends this process.

    Raises:
        LockedError: on entry, if a live process holds the lease.
    """

    def __init__(self, folder: Path, on_lost: Callable[[], None] = _end_process) -> None:
        self.folder = folder
        self.holder = Holder(this_host(), os.getpid(), birth(os.getpid()), uuid.uuid4().hex)
        self._on_lost = on_lost
        self._stop = threading.Event()
        self._heartbeat = threading.Thread(target=self._send_heartbeats, name="lease", daemon=True)

    def __enter__(self) -> "Lease":
        # Listed before the holders are checked: a lease that is acquired later is not among the dead.
        self._dead = {path: _holder(path) for path in _leases(self.folder)}
        holder = live_holder(self.folder)
        if holder is not None:
            raise LockedError(f"{holder} works on it")
        self._path = self.folder / f"lease.{max(map(_number, self._dead), default=0) + 1}"
        if not self._create():
            raise LockedError("another process acquired the lease at the same moment")
        # A process may have acquired and released it since, which makes room for a third.
        others = {path: _holder(path) for path in _leases(self.folder) if path != self._path}
        if any(self._dead.get(path) != holder for path, holder in others.items()):
            self._path.unlink()
            raise LockedError("another process acquired the lease at the same moment")
        self._heartbeat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._heartbeat.join()
        # Our own lease in any case: if it stayed, it would name a process that lives on. Then the dead ones.
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

    def _send_heartbeats(self) -> None:
        pause_seconds = HEARTBEAT_SECONDS
        while not self._stop.wait(pause_seconds):
            started = time.monotonic()
            # A network share that fails briefly is no reason to exit; if it stays away, nobody else can take over.
            with contextlib.suppress(OSError):
                # Twice: a contender that sees our lease too late withdraws its own.
                if self._is_lost() and not self._stop.wait(SECOND_LOOK_SECONDS) and self._is_lost():
                    self._on_lost()
                    return
                os.utime(self._path)
            # After a long outage, check at once.
            pause_seconds = HEARTBEAT_SECONDS if time.monotonic() - started < STALE_SECONDS else 0.0


def live_holder(folder: Path, watch_seconds: float | None = None) -> Holder | None:
    """Return the live process that holds the lease, or None.

    Args:
        folder: the trial's folder.
        watch_seconds: how long to wait for a heartbeat of a process on another host whose last one is old or in the
            future; 0 to return at once. The default is more than two heartbeats.
    """
    path = _newest(folder)
    if path is None:
        return None
    try:
        heartbeat_at = path.stat().st_mtime_ns
        # A file that was just created and is still empty has a live owner.
        holder = _holder(path) or UNKNOWN
        if holder.host == this_host():
            return holder if is_running(holder.pid, holder.born) else None
        age_seconds = _now(folder) - heartbeat_at / 1e9
        if -HEARTBEAT_SECONDS <= age_seconds < STALE_SECONDS:
            return holder
        deadline = time.monotonic() + (WATCH_SECONDS if watch_seconds is None else watch_seconds)
        while time.monotonic() < deadline:
            time.sleep(min(1.0, WATCH_SECONDS / 10))
            if path.stat().st_mtime_ns != heartbeat_at:
                return holder
    except FileNotFoundError:
        # Released, or taken over, in the meantime.
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
    """The file system's time; this host's if nothing can be written."""
    probe = folder / f".now.{uuid.uuid4().hex}"
    try:
        probe.touch()
    except OSError:
        return time.time()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
