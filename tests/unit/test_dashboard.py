"""A workspace of the lessons, as W&B would store it."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ablate.errors import LedgerError
from ablate.records.grid import GridRecord
from ablate.records.wandb.workspace import save, spec, workspace
from tests.support.in_process import Completed, run_in_process
from tests.support.ledgers import make_grid


def section_of(grid: GridRecord) -> dict[str, Any]:
    section = json.loads(spec(workspace("me", "lessons", [grid])))["spec"]["section"]
    assert isinstance(section, dict)
    return section


def panels_of(grid: GridRecord) -> list[dict[str, Any]]:
    [section, *_] = section_of(grid)["panelBankConfig"]["sections"]
    return [panel["config"] for panel in section["panels"]]


def test_each_lesson_has_a_section_of_curves_with_bands(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "good": -0.1}, name="lesson_x", question="Is it good?")
    text = spec(workspace("me", "lessons", [results.grid, replace(results.grid, title="other")]))
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


def test_saving_without_a_login_is_refused() -> None:
    class Refusing:
        url = ""

        def save(self) -> None:
            raise ValueError("not logged in")

    with pytest.raises(LedgerError, match=r"not logged in.*wandb login.*project=ENTITY/PROJECT"):
        save(Refusing())


def test_runs_are_those_of_the_lessons(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "good": -0.1})
    trials = sorted(results.grid.trial_ids)
    section = section_of(results.grid)
    [_, limit] = section["runSets"][0]["filters"]["filters"]
    assert (limit["key"]["name"], limit["op"], limit["value"]) == ("name", "IN", trials)
    assert section["settings"]["maxRuns"] == len(trials), "a mean over seeds leaves none out"
    assert section["settings"]["xAxis"] == "data/train_tokens"
    assert section["settings"]["smoothingType"] == "none"


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


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "good": -0.1})
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    with pytest.raises(LedgerError, match=r"wandb-workspaces.*pip install"):
        workspace("me", "lessons", [results.grid])


@pytest.fixture
def dashboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Completed]:
    """Run the verb in a home without a login."""
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    environment = {"HOME": str(tmp_path), "WANDB_DIR": str(tmp_path), "WANDB_CONFIG_DIR": str(tmp_path)}
    return partial(run_in_process, tmp_path, "dashboard", environment=environment)


def test_the_verb_prints_json_and_nothing_else(tmp_path: Path, dashboard: Callable[..., Completed]) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "good": -0.1}, name="lesson_x")
    described = dashboard("lesson_x", f"runs_dir={results.logs.where}")
    assert "  lesson_x: 4 panels, 6 trials\n" in described.stdout
    done = dashboard("lesson_x", f"runs_dir={results.logs.where}", "project=me/lessons", "--json")
    assert done.returncode == 0, done.stderr
    board = json.loads(done.stdout)
    assert (board["entity"], board["project"]) == ("me", "lessons")
    wrong = dashboard("lesson_y", f"runs_dir={results.logs.where}")
    assert wrong.returncode == 2
    assert "lesson_y: no such grid" in wrong.stderr
    assert "lesson_x" in wrong.stderr


def test_the_verb_saves_only_when_logged_in(tmp_path: Path, dashboard: Callable[..., Completed]) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "good": -0.1}, name="lesson_x")
    done = dashboard(f"runs_dir={results.logs.where}", "project=me/lessons", "--save")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "wandb login" in done.stderr
    assert "Traceback" not in done.stderr
    unnamed = dashboard(f"runs_dir={results.logs.where}", "project=lessons", "--save")
    assert unnamed.returncode == 2
    assert "ENTITY/PROJECT" in unnamed.stderr
