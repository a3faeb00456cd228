"""Seeds that are added at declared looks, and a declaration that changes, from the command line."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ablate.lessons.grid_results import GridResults
from ablate.records.ledger import Ledger
from ablate.records.ledger_logs import LedgerLogs
from ablate.scheduling.launchers import local
from tests.support.command_line import ablate
from tests.support.scored_grids import scoring_launcher
from tests.support.text import write_text

pytestmark = pytest.mark.usefixtures("no_figures")

# Two looks, at two seeds and at three; no arm is equivalent within an effect as small as that.
LESSON = [
    *("-m", "infill=none,psm", "replicates=2", "max_replicates=3"),
    *("lesson.name=tiny", "lesson.smallest_effect=1e-9", "lesson.primary_metric=bpb_full"),
]


def grids(folder: Path) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in (folder / "runs" / "grids").glob("*.json")]
    return sorted(found, key=lambda grid: float(grid["created_at"]))


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("looks")
    write_text(folder / "text", 40, seed=0)
    done = ablate(folder, *LESSON)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_seeds_are_added_until_the_looks_are_spent(looked: tuple[Path, str]) -> None:
    folder, printed = looked
    [grid] = grids(folder)
    assert [look["seeds"] for look in grid["looks"]] == [2, 3]
    assert not grid["looks"][0]["is_decided"], "made-up words and a tiny model: two seeds decide nothing"
    assert [list(arm["trials"]) for arm in grid["arms"]] == [["0", "1", "2"]] * 2, "the baseline too"
    assert "2 arms × 2 seeds, 4 trials, 4 to run" in printed
    assert "Look at 2 seeds: some comparisons are undecided; adding seeds to every arm." in printed
    assert "2 arms × 3 seeds, 6 trials, 2 to run" in printed
    [comparison] = grid["looks"][1]["comparisons"]
    ledger = Ledger(folder / "runs")
    results = GridResults(LedgerLogs(ledger), ledger.grid(grid["grid_id"]))
    values = results.values("bpb_full")
    assert comparison["name"] == "psm"
    assert comparison["difference"] == pytest.approx(values.loc["psm"].mean() - values.loc["none"].mean())
    assert (comparison["low"] + comparison["high"]) / 2 == pytest.approx(comparison["difference"])
    assert comparison["low"] < comparison["high"]
    assert grid["declaration"]["looks"] == [2, 3]


def test_the_same_command_again_trains_nothing(looked: tuple[Path, str]) -> None:
    folder, _ = looked
    before = grids(folder)
    again = ablate(folder, *LESSON)
    assert again.returncode == 0, again.stderr
    assert "2 arms × 3 seeds, 6 trials, 0 to run" in again.stdout
    assert grids(folder) == before, "a look that was taken is never rewritten"


def test_another_declaration_under_the_name_is_exploratory(looked: tuple[Path, str], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(looked[0], tmp_path / "copy"))
    words = [word.replace("1e-9", "1e-8") for word in LESSON]
    done = ablate(folder, *words)
    assert done.returncode == 0, done.stderr
    first, second = grids(folder)
    assert second["other_declarations"] == [first["grid_id"]]
    assert "exploratory: " in done.stdout
    notes = (folder / "runs" / "grids" / second["grid_id"] / "lesson.md").read_text()
    assert f"tiny was declared differently before (grid {first['grid_id']})" in notes


def test_more_seeds_than_are_named_is_refused(looked: tuple[Path, str]) -> None:
    done = ablate(looked[0], *LESSON, "seed=5,6")
    assert done.returncode == 2
    assert "max_replicates=3 adds seeds while comparisons are undecided, and seed=5,6 fixes them." in done.stderr
    done = ablate(looked[0], *LESSON[:3], "max_replicates=1")
    assert done.returncode == 2
    assert "max_replicates=1: less than replicates=2." in done.stderr


def test_other_cells_under_the_name_are_told_as_stale(looked: tuple[Path, str]) -> None:
    done = ablate(looked[0], "lessons", *LESSON, "optimizer.learning_rate=1e-3")
    assert done.returncode == 2
    assert "is stale: 4 of its 4 trials or its declaration changed" in done.stderr


# Beside the baseline one arm is much worse, one is equal but for a little noise, and one varies too much to tell.
SCORES = {
    "causal": lambda seed: 2 + 0.1 * seed,
    "prefix": lambda seed: 7 + 0.1 * seed + 0.001 * (-1) ** seed,
    "mixed": lambda seed: 2 + 0.1 * seed + 0.001 * (seed % 3),
    "mixed_prefix": lambda seed: 2.7 + 0.1 * seed + 0.5 * (-1) ** seed,
}


def test_only_undecided_arms_get_more_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "LocalLauncher", scoring_launcher(SCORES))
    write_text(tmp_path / "text", 40, seed=0)
    command = [
        *("-m", "objective=causal,prefix,mixed,mixed_prefix", "replicates=4", "max_replicates=6"),
        *("lesson.primary_metric=bpb_full", "lesson.smallest_effect=1", "evaluation=[bits_per_byte]"),
    ]
    done = ablate(tmp_path, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    [grid] = grids(tmp_path)
    assert grid["declaration"]["looks"] == [4, 5, 6]
    assert {arm["label"]: len(arm["trials"]) for arm in grid["arms"]} == {
        **{"causal": 6, "prefix": 4, "mixed": 4},
        "mixed_prefix": 6,
    }
    at_four, at_five, at_six = ({each["name"]: each for each in look["comparisons"]} for look in grid["looks"])
    assert [at_four[arm]["verdict"] for arm in ("prefix", "mixed", "mixed_prefix")] == [
        *("worse", "equivalent"),
        "undecided",
    ]
    for arm in ("prefix", "mixed"):
        assert at_four[arm] == at_five[arm] == at_six[arm], "decided, so it keeps its interval"
    assert at_six["mixed_prefix"]["seeds"] == 6
    assert "Look at 4 seeds: some comparisons are undecided; adding seeds to causal, mixed_prefix." in done.stdout
    assert "4 arms × up to 5 seeds, 18 trials, 2 to run" in done.stdout
    again = ablate(tmp_path, *command)
    assert "4 arms × up to 6 seeds, 20 trials, 0 to run" in again.stdout
    assert grids(tmp_path)[0]["looks"] == grid["looks"]
