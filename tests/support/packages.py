"""Packages that register components of their own, as the tutorials build them."""

import re
from collections.abc import Iterable
from pathlib import Path

from tests.support.command_line import with_tiny
from tests.support.forked import fork
from tests.support.in_process import Completed
from tests.support.text import write_text


def write_package(folder: Path, name: str, version: str, module: str) -> None:
    """Write a package of one module, and what `pip install -e .` leaves of it."""
    (folder / f"{name}.py").write_text(module)
    about = folder / f"{name}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n")
    (about / "entry_points.txt").write_text(f"[ablate.components]\n{name} = {name}\n")


def write_tutorial_package(folder: Path, tutorial: str, name: str, version: str, configs: Iterable[str]) -> None:
    """Write the package of a tutorial, the YAML beside it, and a little text to train on.

    Args:
        tutorial: the document; it marks each file as a block.
        configs: the YAML files.
    """
    document = (Path(__file__).parents[2] / "docs" / "tutorial" / tutorial).read_text()
    write_package(folder, name, version, _block(document, f"{name}.py"))
    for config in configs:
        (folder / config).parent.mkdir()
        (folder / config).write_text(_block(document, config))
    write_text(folder / "text", 40, seed=0)


def _block(document: str, name: str) -> str:
    """A marked block of a document, without its fence."""
    match = re.search(rf"<!-- {re.escape(name)} -->\n```\w+\n(.*?)```\n<!-- /", document, re.DOTALL)
    assert match is not None
    return match[1]


def run_with_package(folder: Path, *arguments: str, package: Path | None = None) -> Completed:
    """Run a command in a folder, with the package that lies there or elsewhere installed."""
    return fork(folder, *with_tiny(folder, *arguments), packages=[package or folder]).wait()
