"""Ledgers and lessons from Python."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ablate
from ablate import Ledger, ladder, lesson
from ablate.errors import FailureError, LedgerError, UsageError
from ablate.lessons.grid_results import GridResults
from ablate.records.archive import write_archive
from ablate.records.trial import Status
from tests.support.ledgers import ledger_of
from tests.support.ledgers import make_grid as make_bare_grid


def make_grid(
    tmp_path: Path, offsets: dict[str, float], **declared: Any
) -> tuple[GridResults, dict[str, dict[str, str]]]:
    """A grid whose trials have configurations, which makes them trials of the ledger."""
    results, trials = make_bare_grid(tmp_path, offsets, **declared)
    for name in results.grid.trial_ids:
        ledger_of(results).trial(name).config_path.touch()
    return results, trials


def test_trials_tables_and_verdicts_in_three_lines(tmp_path: Path) -> None:
    results, trials = make_grid(tmp_path, {"causal": 0.0, "mixed": 0.5}, name="my_lesson")
    table = Ledger(tmp_path / "runs").table()
    found = lesson("my_lesson", str(tmp_path / "runs"))
    assert {name: str(verdict) for name, verdict in found.verdicts.items()} == {"mixed": "worse"}
    assert sorted(table["trial_id"]) == sorted([*trials["causal"].values(), *trials["mixed"].values()])
    assert set(table["status"]) == {"finished"}
    assert table["train_tokens"].tolist() == [1000] * 6
    assert table.set_index("trial_id").loc[trials["mixed"]["0"], "test/bpb_full"] == pytest.approx(2.5, abs=0.01)
    rows = found.table()
    [mixed] = rows[(rows["metric"] == "bpb_full") & (rows["arm"] == "mixed")].to_dict("records")
    assert mixed["verdict"] == "worse"
    assert mixed["low"] < mixed["difference"] < mixed["high"]
    assert lesson(runs_dir=tmp_path / "runs").results.grid_id == results.grid_id


def test_a_ladder_of_lessons_from_their_names(tmp_path: Path) -> None:
    make_grid(tmp_path, {"causal": 0.0, "mixed": 0.5}, name="my_lesson")
    table = ladder("my_lesson", runs_dir=tmp_path / "runs").table().set_index("quantity")
    assert table.loc["at 000000000000", "value"] == pytest.approx(0.5, abs=0.01)
    assert table.loc["per 10× compute", "note"] == "a slope takes two rungs"
    with pytest.raises(FailureError, match=r"no ladder\. No rung has scores of the baseline prefix"):
        ladder("my_lesson", baseline="prefix", runs_dir=tmp_path / "runs")
    with pytest.raises(UsageError, match="name the lessons or grids"):
        ladder(runs_dir=tmp_path / "runs")


def test_logs_are_one_table(tmp_path: Path) -> None:
    _, trials = make_grid(tmp_path, {"causal": 0.0, "mixed": 0.5})
    ledger = Ledger(tmp_path / "runs")
    assert len(ledger.history()) == 12
    history = ledger.history([trials["mixed"]["1"]], ["train/loss"])
    assert history.to_dict("list") == {
        "trial_id": [trials["mixed"]["1"]] * 2,
        "step": [1, 2],
        "train/loss": [4.0, 2.0],
    }


def test_an_archive_has_lessons_too(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "mixed": 0.5}, name="my_lesson")
    write_archive(results.logs, [results.grid], tmp_path / "data")
    assert str(lesson("my_lesson", tmp_path / "data").verdicts["mixed"]) == "worse"


def test_a_damaged_record_is_a_row(tmp_path: Path) -> None:
    _, trials = make_grid(tmp_path, {"causal": 0.0}, seeds=1)
    ledger = Ledger(tmp_path / "runs")
    folder = ledger.trial(trials["causal"]["0"])
    folder.record_path.write_text("")
    assert ledger.table().to_dict("records") == [{"trial_id": folder.trial_id, "status": "damaged"}]


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no ledger here\. Give the folder: Ledger\('PATH'\)"):
        Ledger(tmp_path / "nothing")
    with pytest.raises(LedgerError, match="has neither a ledger nor an archive"):
        lesson(runs_dir=tmp_path)
    results, trials = make_grid(tmp_path, {"causal": 0.0, "mixed": 0.5}, name="my_lesson")
    with pytest.raises(UsageError, match="other: no such grid below"):
        lesson("other", tmp_path / "runs")
    for trial in (*trials["causal"].values(), *trials["mixed"].values()):
        ledger_of(results).trial(trial).update(status=Status.DIVERGED, evaluations={})
    with pytest.raises(FailureError, match=r"no lesson\. The baseline causal diverged"):
        lesson("my_lesson", tmp_path / "runs")
    with pytest.raises(AttributeError, match="module 'ablate' has no attribute 'lessson'"):
        _ = ablate.lessson  # type: ignore[attr-defined]


def test_importing_ablate_imports_nothing_heavy() -> None:
    program = (
        "import sys, ablate; assert {'Ledger', 'lesson'} <= set(dir(ablate))\n"
        "print(sorted({'torch', 'pandas', 'numpy', 'pydantic', 'rich', 'wandb', 'hydra'} & set(sys.modules)))\n"
        "ablate.Ledger, ablate.lesson\n"
        "print(sorted({'torch', 'wandb', 'hydra', 'optuna', 'lightning'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n"
