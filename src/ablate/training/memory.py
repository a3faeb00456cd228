"""Measure the main memory that is available to this process."""

from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def available_bytes() -> int:
    """Return the machine's free memory, or what a control group (container, batch job) leaves if that is less."""
    return min([int(psutil.virtual_memory().available), *_available_in_groups()])


def _available_in_groups() -> list[int]:
    """Return limit minus use of this process's control group and its parents, for cgroups v1 and v2."""
    available = []
    for line in _lines(OWN):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, limit, used = CGROUPS, "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            root, limit, used = CGROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        folder = root / path.lstrip("/")
        for group in (folder, *folder.parents):
            numbers = [*_lines(group / limit), *_lines(group / used)]
            if len(numbers) == 2 and all(number.isdecimal() for number in numbers):
                available.append(int(numbers[0]) - int(numbers[1]))
            if group == root:
                break
    return available


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
