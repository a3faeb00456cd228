"""How much main memory this process may still take."""

from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")


def available_bytes() -> int:
    """What the machine has free, or what the control group (a container's, a batch job's) leaves of its limit."""
    available = int(psutil.virtual_memory().available)
    try:
        # Version 2 has one line: 0::/path.
        own = Path("/proc/self/cgroup").read_text().splitlines()[0].partition("::")[2]
        folder = CGROUPS / own.lstrip("/")
        limit = (folder / "memory.max").read_text().strip()
        if limit != "max":
            available = min(available, int(limit) - int((folder / "memory.current").read_text()))
    except (OSError, IndexError):
        pass
    return available
