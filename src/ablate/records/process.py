"""Which process on which host, told apart also after its number was given to another."""

import os
import socket
from pathlib import Path


def this_host() -> str:
    """The host's name and, where there is a /proc, its boot and the namespace that process numbers belong to.

    Two machines, or two containers, may share a name and still not see each other's processes.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def birth(pid: int) -> str | None:
    """When a process on this host began, in ticks since the boot; None where that can't be known."""
    found = _stat(pid)
    return found[1] if found else None


def is_running(pid: int, born: str | None) -> bool:
    """Whether the process with this number on this host runs, and is the one that began then."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    found = _stat(pid)
    if found is None:
        return True
    state, began = found
    # A zombie is dead and answers to its number, for ever where nobody waits for it, as in many containers.
    return state not in "ZX" and born in (began, None)


def _stat(pid: int) -> tuple[str, str] | None:
    """State and start of a process, where the system has a /proc."""
    try:
        # The name before them, in parentheses, may hold spaces and parentheses of its own.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return None
