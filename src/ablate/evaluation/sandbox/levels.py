"""The levels of the sandbox, the strongest first, and how each starts a process.

| level | files | network | signals, processes |
|---|---|---|---|
| `bubblewrap` | own mounts | own namespace | own namespaces |
| `landlock` | Landlock | none of its system calls | none of their system calls |

Both also have the limits of `inside/restrict.py` and the filter of `inside/seccomp.py`. What each does not
stop: `docs/sandbox.md`.
"""

import marshal
import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from ablate.evaluation.sandbox.program import Limits

INSIDE = Path(__file__).parent / "inside"
# In the order in which they import each other.
MODULES = ("wire", "landlock", "seccomp", "restrict", "program", "judge")
OTHER = {"program": "judge", "judge": "program"}
# Nobody, by convention.
NOBODY = 65534
# What dynamic linking reads.
SYSTEM = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache")
# A hash of text that differs between two runs would change what a program prints of a set.
ENVIRONMENT = {"PYTHONHASHSEED": "0", "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}


class Level(Protocol):
    """A way to hold a program."""

    @property
    def name(self) -> str:
        """Recorded with each score."""
        ...

    def command(self, role: str, scratch: Path, limits: Limits) -> list[str]:
        """Return the command that runs `inside/<role>.py`."""
        ...

    def restrictions(self, role: str, scratch: Path, limits: Limits) -> Mapping[str, Any]:
        """Return what the process is to give up by itself; see `inside/restrict.py`."""
        ...


@cache
def bundle(role: str) -> str:
    """Return one program text with all modules of `inside/`, compiled, which runs the `main` of one of them."""
    names = [f"ablate.evaluation.sandbox.inside.{name}" for name in MODULES if name != OTHER[role]]
    modules = [
        (name, compile((INSIDE / f"{name.rpartition('.')[2]}.py").read_text(), name, "exec", optimize=2))
        for name in names
    ]
    return (
        "import sys, types, marshal\n"
        f"for name, code in marshal.loads({marshal.dumps(modules)!r}):\n"
        "    module = sys.modules[name] = types.ModuleType(name)\n"
        "    exec(code, module.__dict__)\n"
        f"sys.modules['ablate.evaluation.sandbox.inside.{role}'].main()\n"
    )


def interpreter() -> str:
    """Return the Python below a virtual environment: programs see the standard library alone."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def libraries() -> list[str]:
    """Return the folders that Python reads, the standard library first."""
    paths = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), sysconfig.get_config_var("LIBDIR") or ""]
    return list(dict.fromkeys(os.path.realpath(path) for path in paths if path and Path(path).is_dir()))


def _python(role: str) -> list[str]:
    # Without site-packages, the user's folders and the current folder.
    return [interpreter(), "-s", "-S", "-P", "-B", "-c", bundle(role)]


def _kernel(role: str, scratch: Path, limits: Limits, user: int | None, *, must: bool) -> dict[str, Any]:
    # The tests' own process may take as long for what the program gives it.
    numbers = {name: value for name, value in asdict(limits).items() if name != "asleep_seconds"}
    return {
        "limits": numbers,
        "read": [*libraries(), *SYSTEM],
        "write": str(scratch) if role == "program" else None,
        "user": user,
        "kernel": True,
        "must_confine_files": must,
    }


@dataclass(frozen=True)
class Landlock:
    """Landlock, seccomp, limits and, for root, an unprivileged user."""

    name: str = "landlock"

    def command(self, role: str, scratch: Path, limits: Limits) -> list[str]:
        """See `Level`."""
        return _python(role)

    def restrictions(self, role: str, scratch: Path, limits: Limits) -> Mapping[str, Any]:
        """See `Level`."""
        return _kernel(role, scratch, limits, NOBODY if os.geteuid() == 0 else None, must=True)


@dataclass(frozen=True)
class Bubblewrap:
    """Namespaces of its own by bubblewrap, and what `Landlock` has as far as the kernel has it."""

    name: str = "bubblewrap"

    def command(self, role: str, scratch: Path, limits: Limits) -> list[str]:
        """See `Level`."""
        mounts = [*SYSTEM, *libraries(), interpreter()]
        # A link stays a link: /lib is one to usr/lib.
        words = ["bwrap", "--unshare-all", "--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY)]
        words += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--dev", "/dev"]
        for path in dict.fromkeys(mounts):
            if Path(path).exists():
                words += ["--ro-bind", path, path]
        words += ["--size", str(limits.file_bytes), "--tmpfs", "/scratch", "--chdir", "/scratch", "--"]
        return [*words, *_python(role)]

    def restrictions(self, role: str, scratch: Path, limits: Limits) -> Mapping[str, Any]:
        """See `Level`."""
        return _kernel(role, Path("/scratch"), limits, None, must=False)


def available() -> list[Level]:
    """Return the levels whose programs are installed, the strongest first."""
    levels: list[Level] = []
    if sys.platform == "linux":
        levels += [Bubblewrap()] if shutil.which("bwrap") else []
        levels += [Landlock()]
    return levels
