"""Main memory that is available to this process."""

from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def available_bytes() -> int:
    """Return the free memory of the machine, or what a control group (container, batch job) leaves if that is less."""
    return min([int(psutil.virtual_memory().available), *_left_by_groups()])


def _left_by_groups() -> list[int]:
    """Limit minus use of the own control group and all above it, of either version."""
    left = []
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
                left.append(int(numbers[0]) - int(numbers[1]))
            if group == root:
                break
    return left


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
