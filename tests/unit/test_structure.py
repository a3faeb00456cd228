"""The structure of the sources: files import acyclically, and files and functions stay short."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
MAX_FILE_LINES = 320
MAX_FUNCTION_LINES = 60


def files() -> list[Path]:
    return sorted(path for room in ("ablate", "hydra_plugins") for path in (SRC / room).rglob("*.py"))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")


def imported_modules(path: Path, known: set[str]) -> set[str]:
    """The modules of ours that a file imports, anywhere in it; a package only where nothing below it is named."""
    modules = set[str]()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {
                below if (below := f"{node.module}.{alias.name}") in known else node.module for alias in node.names
            }
    return (modules & known) - {module_of(path)}


def test_files_import_acyclically() -> None:
    known = {module_of(path) for path in files()}
    graph = {module_of(path): imported_modules(path, known) for path in files()}
    assert graph["ablate.grid.run"] >= {"ablate.grid.grid", "ablate.scheduling.scheduler"}, "imports are found"
    assert cycle(graph) == []


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of a cycle of imports; [] if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("path", files(), ids=module_of)
def test_a_file_is_short_and_so_are_its_functions(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= MAX_FILE_LINES, f"{len(lines)} lines"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{node.name}: {length} lines"
