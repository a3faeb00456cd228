"""A workspace of the lessons, as W&B would store it."""

import json
from pathlib import Path

import pytest

from ablate.records.dashboard import save, spec, workspace
from ablate.records.files import LedgerError
from tests.unit.test_lessons import make_grid


def test_each_lesson_has_a_section_of_curves_with_bands(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "good": -0.1}, name="lesson_x", question="Is it good?")
    made = workspace("me", "lessons", [results.grid, {**results.grid, "title": "other"}])
    text = spec(made)
    assert spec(workspace("me", "lessons", [results.grid, {**results.grid, "title": "other"}])) == text
    sections = json.loads(text)["spec"]["section"]["panelBankConfig"]["sections"]
    assert [section["name"] for section in sections][:2] == ["lesson_x", "lesson_x"]
    panels = [panel["config"] for panel in sections[0]["panels"]]
    curves = [panel for panel in panels if panel.get("metrics") == ["train/loss"]]
    assert curves
    assert curves[0]["groupBy"].endswith("objective")
    assert curves[0]["groupArea"] == "minmax"
    assert "Is it good?" in text
    assert "test/bpb_full" in text
    assert "tune/bpb_full" in text


def test_saving_without_a_login_is_told() -> None:
    class Refusing:
        url = ""

        def save(self) -> None:
            raise ValueError("not logged in")

    with pytest.raises(LedgerError, match=r"not logged in.*wandb login.*project=ENTITY/PROJECT"):
        save(Refusing())
