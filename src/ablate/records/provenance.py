"""Provenance of a result: code, versions, machine."""

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ablate import __version__
from ablate.files import write_text
from ablate.records.schema import Extensible

PACKAGES = ("torch", "lightning", "numpy", "tokenizers", "hydra-core", "omegaconf", "wandb", "pandas")


@dataclass(frozen=True, kw_only=True)
class Provenance(Extensible):
    """Code, versions and machine of a trial, grid or tuning.

    Attributes:
        ablate: this package's version.
        git_diff: the file in `diffs/` that holds uncommitted changes.
        versions: by package.
        machine: the processor and its number of cores.
    """

    ablate: str
    git_commit: str | None = None
    git_diff: str | None = None
    python: str
    versions: Mapping[str, str]
    host: str | None = None
    machine: str


def provenance(source: Path, diffs: Path, plugins: Iterable[str] = ()) -> Provenance:
    """Return what a record keeps of code and machine.

    Args:
        source: a file of the code. If git tracks it, the commit and all uncommitted changes to Python and YAML files
            are kept. (A package installed inside another repository is not part of it.)
        diffs: the folder for uncommitted changes, kept once for all trials that ran with them.
        plugins: packages whose components may be in use.
    """
    commit = commit_of(source)
    return Provenance(
        ablate=__version__,
        git_commit=commit,
        git_diff=_kept_diff(source, diffs) if commit else None,
        python=platform.python_version(),
        versions={package: importlib.metadata.version(package) for package in (*PACKAGES, *plugins)},
        host=platform.node(),
        machine=machine(),
    )


def commit_of(source: Path) -> str | None:
    """Return the commit of the repository that tracks a file, or None."""
    is_tracked = _git(source, "ls-files", "--error-unmatch", source.name) is not None
    return _git(source, "rev-parse", "HEAD") if is_tracked else None


def _kept_diff(source: Path, diffs: Path) -> str | None:
    """Write uncommitted changes to `diffs` and return the file's name; None without changes."""
    diff = _git(source, "diff", "HEAD", "--", ":(top)*.py", ":(top)*.yaml")
    if not diff:
        return None
    path = diffs / f"{hashlib.sha256(diff.encode()).hexdigest()[:12]}.diff"
    if not path.exists():
        write_text(path, diff + "\n")
    return path.name


def machine() -> str:
    """Return the processor and the number of cores that this process may use."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, KeyError):
        # Of the first core. In a virtual machine many generations share a name, so the numbers tell them apart.
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
        core = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        name = f"{core['model name']} (family {core['cpu family']}, model {core['model']})"
    return f"{name}, {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores"


def _git(source: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(source.parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
