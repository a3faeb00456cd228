"""Imports run one way, and what is heavy is imported where it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src" / "ablate"

# Who may import whom, besides themselves: everything below.
ORDER = [
    {"errors", "console", "versions", "ranks"},
    {"files"},
    {"config", "records"},
    {"objectives"},
    {"identity"},
    {"data"},
    {"model"},
    {"evaluation"},
    {"training", "lessons"},
    {"reports"},
    {"scheduling"},
    {"grid"},
    {"tuning"},
    {"verbs"},
    {"__main__", "api", "rank"},
]
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
FLOOR = {"errors", "console", "versions", "ranks", "files"}
# Seams that are narrower than their level.
ONLY = {
    "errors": set[str](),
    "console": set[str](),
    "versions": set[str](),
    "ranks": set[str](),
    "files": {"errors"},
    "config": FLOOR,
    "records": FLOOR,
    "lessons": {*FLOOR, "records"},
    "reports": {*FLOOR, "records", "lessons"},
}
HEAVY = {
    "wandb": {"records/wandb/"},
    "wandb_workspaces": {"records/wandb/workspace.py"},
    "hydra": {"grid", "tuning", "hydra_plugins", "scheduling/launchers/hydra.py"},
    "omegaconf": {"grid", "tuning", "hydra_plugins"},
    "optuna": {"tuning", "records/optuna/", "reports/study_figures.py", "reports/tuning_section.py"},
    "ray": {"scheduling/launchers/ray.py"},
    "sqlalchemy": {"records/optuna/storage.py"},
}


def imports(path: Path) -> set[str]:
    """Modules that a file names, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def files() -> list[tuple[str, Path]]:
    found = [(path.relative_to(SRC).as_posix(), path) for path in SRC.rglob("*.py")]
    return [(name, path) for name, path in found if name != "__init__.py"]


@pytest.mark.parametrize(("name", "path"), files())
def test_imports_run_one_way(name: str, path: Path) -> None:
    room = name.split("/")[0].removesuffix(".py")
    for module in imports(path):
        if not module.startswith("ablate."):
            continue
        other = module.split(".")[1]
        if other == room:
            continue
        assert LEVEL[other] < LEVEL[room], f"{name} imports {module}"
        if room in ONLY:
            assert other in ONLY[room], f"{name} imports {module}"


@pytest.mark.parametrize(("name", "path"), files())
def test_heavy_packages_stay_in_their_rooms(name: str, path: Path) -> None:
    for module in imports(path):
        package = module.split(".")[0]
        if package in HEAVY:
            assert any(name.startswith(room) for room in HEAVY[package]), f"{name} imports {module}"


HEAVY_LATER = {
    "torch",
    "lightning",
    "wandb",
    "optuna",
    "pandas",
    "matplotlib",
    "scipy",
    "tokenizers",
    "gensim",
    "numpy",
}
COMPOSING = {"hydra", "omegaconf", "pydantic"}


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--help"], set()),
        (["status", "--help"], set()),
        (["--version"], set()),
        (["nonsense"], set()),
        (["budgt=smoke"], set()),
        (["-m", "objective=causal,mixed", "scale.nope=3"], set()),
        (["objective=causal,nope"], set()),
        (["scale.d_model=-1"], COMPOSING),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(arguments: list[str], allowed: set[str]) -> None:
    program = (
        f"import sys; sys.argv = ['ablate', *{arguments!r}]\n"
        "from ablate.__main__ import main\n"
        "code = main()\n"
        f"heavy = {HEAVY_LATER | {'rich', 'ablate.records.ledger'} | COMPOSING - allowed!r}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)), code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "HEAVY []" in done.stdout, done.stdout + done.stderr


def test_hydra_plugins_is_a_namespace_that_others_can_share() -> None:
    assert not (SRC.parent / "hydra_plugins" / "__init__.py").exists()
