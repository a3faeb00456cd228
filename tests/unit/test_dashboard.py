"""A workspace of the lessons, as W&B would store it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ablate.errors import LedgerError
from ablate.records.grid import GridRecord
from ablate.records.wandb.workspace import save, spec, workspace
from tests.support.ledgers import make_grid


def section_of(grid: GridRecord) -> dict[str, Any]:
    found = json.loads(spec(workspace("me", "lessons", [grid])))["spec"]["section"]
    assert isinstance(found, dict)
    return found


def panels_of(grid: GridRecord) -> list[dict[str, Any]]:
    [section, *_] = section_of(grid)["panelBankConfig"]["sections"]
    return [panel["config"] for panel in section["panels"]]


def test_each_lesson_has_a_section_of_curves_with_bands(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "good": -0.1}, name="lesson_x", question="Is it good?")
    made = workspace("me", "lessons", [results.grid, replace(results.grid, title="other")])
    text = spec(made)
    assert spec(workspace("me", "lessons", [results.grid, replace(results.grid, title="other")])) == text
    sections = json.loads(text)["spec"]["section"]["panelBankConfig"]["sections"]
    assert [section["name"] for section in sections][:2] == ["lesson_x", "lesson_x"]
    panels = [panel["config"] for panel in sections[0]["panels"]]
    curves = [panel for panel in panels if panel.get("metrics") == ["train/loss"]]
    assert curves
    assert curves[0]["groupBy"].endswith("objective")
    assert curves[0]["groupArea"] == "minmax"
    assert "Is it good?" in text
    assert "test/bpb_full" in text
    assert "val/bpb_full" in text


def test_saving_without_a_login_is_told() -> None:
    class Refusing:
        url = ""

        def save(self) -> None:
            raise ValueError("not logged in")

    with pytest.raises(LedgerError, match=r"not logged in.*wandb login.*project=ENTITY/PROJECT"):
        save(Refusing())


def test_runs_are_those_of_the_lessons(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "good": -0.1})
    trials = sorted(results.grid.trial_ids)
    found = section_of(results.grid)
    [_, limit] = found["runSets"][0]["filters"]["filters"]
    assert (limit["key"]["name"], limit["op"], limit["value"]) == ("name", "IN", trials)
    assert found["settings"]["maxRuns"] == len(trials), "a mean over seeds leaves none out"
    assert found["settings"]["xAxis"] == "data/train_tokens"
    assert found["settings"]["smoothingType"] == "none"


@pytest.mark.parametrize(
    ("factors", "grouped_by", "over"),
    [
        ([], ["group"], "seeds"),
        (["objective"], ["ablate.value.options.objective"], "seeds"),
        (
            ["objective", "scale"],
            ["ablate.value.options.objective", "ablate.value.options.scale"],
            "seeds and the other factors",
        ),
    ],
)
def test_each_factor_has_its_panels_and_none_has_too(
    tmp_path: Path, factors: list[str], grouped_by: list[str], over: str
) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "good": -0.1})
    grid = replace(results.grid, declaration=replace(results.declaration, factors=tuple(factors)))
    _, *panels = panels_of(grid)
    assert [panel["groupBy"] for panel in panels] == [group for group in grouped_by for _ in range(3)]
    assert [panel["metrics"] for panel in panels[:3]] == [["train/loss"], ["val/bpb_full"], ["test/bpb_full"]]
    for panel in panels:
        assert panel["chartTitle"].endswith(f"mean and range over {over}")
        assert panel["groupArea"] == "minmax"


def test_a_missing_library_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "good": -0.1})
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    with pytest.raises(LedgerError, match=r"wandb-workspaces.*pip install"):
        workspace("me", "lessons", [results.grid])


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # Nobody is logged in, and nothing asks for it.
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "WANDB_DIR": str(folder)}
    return subprocess.run(
        [sys.executable, "-m", "ablate", "dashboard", *words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_verb_prints_json_and_nothing_else(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "good": -0.1}, name="lesson_x")
    done = command(tmp_path, "lesson_x", f"runs_dir={results.logs.where}", "project=me/lessons")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["entity"], found["project"]) == ("me", "lessons")
    wrong = command(tmp_path, "lesson_y", f"runs_dir={results.logs.where}")
    assert wrong.returncode == 2
    assert "lesson_y: no such grid" in wrong.stderr
    assert "lesson_x" in wrong.stderr


def test_the_verb_saves_only_when_logged_in(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "good": -0.1}, name="lesson_x")
    done = command(tmp_path, f"runs_dir={results.logs.where}", "project=me/lessons", "--save")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "wandb login" in done.stderr
    assert "Traceback" not in done.stderr
    unnamed = command(tmp_path, f"runs_dir={results.logs.where}", "project=lessons", "--save")
    assert unnamed.returncode == 2
    assert "ENTITY/PROJECT" in unnamed.stderr
