"""Where a result comes from: code, versions, machine."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "lightning", "numpy", "tokenizers", "hydra-core", "omegaconf", "wandb", "pandas")


def provenance(source: Path) -> dict[str, Any]:
    """What a record keeps about code and machine.

    Args:
        source: a path inside the code; when it lies in a git checkout, its commit and its uncommitted changes to
            tracked files are kept.
    """
    commit = _git(source, "rev-parse", "HEAD")
    return {
        "ablate": importlib.metadata.version("ablate"),
        "git_commit": commit,
        "git_diff": _git(source, "diff", "HEAD", "--", "*.py", "*.yaml") if commit else None,
        "python": platform.python_version(),
        "versions": {package: importlib.metadata.version(package) for package in PACKAGES},
        "host": platform.node(),
        "machine": machine(),
    }


def machine() -> str:
    """The processor and how many of its cores this process may use."""
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return f"{name}, {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores"


def _git(source: Path, *arguments: str) -> str | None:
    folder = source if source.is_dir() else source.parent
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
