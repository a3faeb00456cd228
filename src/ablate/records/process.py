"""Identify a process on a host, also after its pid was given to another process."""

import os
import socket
from pathlib import Path


def this_host() -> str:
    """Return the host's name and, if there is a /proc, its boot id and pid namespace.

    Two machines, or two containers, may share a name without seeing each other's processes.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def birth(pid: int) -> str | None:
    """Return when a process on this host started, in ticks since the boot; None if that is unknown."""
    stat = _stat(pid)
    return stat[1] if stat else None


def is_running(pid: int, born: str | None) -> bool:
    """Whether the process with this pid runs on this host and started then."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    stat = _stat(pid)
    if stat is None:
        return True
    state, started = stat
    # A zombie is dead and keeps its pid, in many containers for ever, because nobody waits for it.
    return state not in "ZX" and born in (started, None)


def _stat(pid: int) -> tuple[str, str] | None:
    """State and start time of a process, if the system has a /proc."""
    try:
        # The name before them may contain spaces and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return None
