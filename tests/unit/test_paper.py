"""The archive and the paper: the same bytes from the same logs, and what is not there is said."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ablate.errors import LedgerError
from ablate.grid.stale import stale_trials
from ablate.lessons.aa_test import AAComparison, aa_test
from ablate.lessons.grid_results import GridResults
from ablate.lessons.lesson import Lesson
from ablate.lessons.power import required_seeds
from ablate.records.archive import restore, write_archive
from ablate.records.ledger import Ledger
from ablate.records.ledger_logs import LedgerLogs
from ablate.records.open_logs import open_logs
from ablate.records.trial import Status, TrialRecord
from ablate.reports.latex import appendix_tables, primary_table
from ablate.reports.notes import notes
from ablate.reports.paper import write_paper
from ablate.reports.table import lesson_table
from ablate.reports.written import latex_text
from ablate.versions import CODE_VERSIONS
from tests.support.ledgers import ledger_of, make_grid, verdicts, with_changes

PUBLISHED: list[dict[str, Any]] = [
    {"lesson": name, "shows": "scores", "kind": "table", "claim": "it helps", "published": []}
    for name in ("lesson_x", "lesson_y")
]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def named(tmp_path: Path, name: str = "lesson_x") -> GridResults:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "good": -0.1, "alike": 0.0}, seeds=5, name=name)
    return results


def test_the_paper_is_the_same_from_ledger_and_archive_and_twice(tmp_path: Path) -> None:
    results = named(tmp_path)
    archive = write_archive(results.logs, [results.grid], tmp_path / "data")
    for name, logs in {"one": archive, "two": open_logs(tmp_path / "data")}.items():
        paper = write_paper(logs, PUBLISHED, tmp_path / name, "c0ffee")
        assert verdicts(paper.lessons["lesson_x"]) == {"good": "better", "alike": "equivalent"}
    one, two = digests(tmp_path / "one"), digests(tmp_path / "two")
    assert one == two
    assert verdicts(Lesson.of(results)) == {"good": "better", "alike": "equivalent"}
    manifest = json.loads((tmp_path / "one" / "manifest.json").read_text())
    assert manifest["lessons"]["lesson_x"]["trials"]["good"]["4"] in archive.grids()[0].arms[1].trials.values()
    assert manifest["written_by_commit"] == "c0ffee"
    assert manifest["files"] == {name: digest for name, digest in one.items() if name != "manifest.json"}
    page = (tmp_path / "one" / "paper.md").read_text()
    assert "not yet run: `python -m ablate experiment=lesson_y`" in page
    assert "good: better; alike: equivalent" in page
    tex = (tmp_path / "one" / "tables" / "lesson_x.tex").read_text()
    assert r"\toprule" in tex
    assert "appendix" not in tex
    for suffix in ("pdf", "svg", "png"):
        assert (tmp_path / "one" / "figures" / f"lesson_x_comparisons.{suffix}").stat().st_size > 3000


def test_an_archive_names_no_folder_of_a_machine(tmp_path: Path) -> None:
    results = named(tmp_path)
    command = "python -m ablate -m objective=causal,prefix runs_dir=/home/me/runs '+data=/a b/c' budget=smoke"
    archive = write_archive(results.logs, [replace(results.grid, command=command)], tmp_path / "data")
    assert [grid.command for grid in archive.grids()] == ["python -m ablate -m objective=causal,prefix budget=smoke"]


def test_a_restored_archive_gives_the_same_lesson_and_replaces_nothing(tmp_path: Path) -> None:
    results = named(tmp_path)
    ledger_of(results).trial(results.arms[0].trials["4"]).update(status=Status.PENDING, evaluations={})
    archive = write_archive(results.logs, [results.grid], tmp_path / "data")
    ledger = Ledger(tmp_path / "new")
    kept = results.arms[0].trials["0"]
    ledger.trial(kept).write(TrialRecord(kept, status=Status.DIVERGED))
    assert restore(archive, ledger) == 13, "one trial was there, and one has no outcome"
    assert ledger.trial(kept).status == Status.DIVERGED
    assert not ledger.trial(results.arms[0].trials["4"]).record_path.exists()
    ledger.trial(kept).write(archive.record(kept))
    [grid] = ledger.grids()
    old, new = Lesson.of(results), Lesson.of(GridResults(LedgerLogs(ledger), grid))
    assert lesson_table(new).equals(lesson_table(old))
    trial = results.arms[1].trials["0"]
    pd.testing.assert_frame_equal(LedgerLogs(ledger).history([trial], ()), archive.history([trial], ()))
    assert restore(archive, ledger) == 0


def test_latex_tables_are_one_column_wide_with_the_primary_metric_alone(tmp_path: Path) -> None:
    offsets = {"causal": 0.0, "a_b & 100%": -0.1, "x" * 20 + " " + "y" * 20: 2.0}
    results, _ = make_grid(tmp_path, offsets, seeds=3, name="lesson_x")
    lesson = Lesson.of(results)
    primary, appendix = primary_table(lesson), appendix_tables(lesson)
    assert r"\begin{tabularx}{\linewidth}{@{}>{\raggedright\arraybackslash}Xrr" in primary
    rows = [line for line in primary.splitlines() if line.endswith(r"\\")]
    assert [row.count("&") - row.count(r"\&") for row in rows] == [3] * 4
    [row] = [row for row in rows if row.startswith(r"a\_\allowbreak{}b \& 100\% & ")]
    comparison = lesson.comparisons[0]
    assert comparison.high is not None
    half = comparison.high - comparison.difference
    assert f"& $-${-comparison.difference:.4f} $\\pm$ {half:.4f} & better" in row
    assert "no better than unigram: worse" in rows[-1]
    assert "p{6.5em}@{}}" in primary, "a long verdict is wrapped"
    assert "full/code" not in primary
    assert appendix.count(r"\begin{tabularx}") == 1
    assert r"\textbf{bpb\_\allowbreak{}full/code}" in appendix


def test_latex_text_is_escaped_and_has_true_minus_signs() -> None:
    assert latex_text("-0.5 [-1e-05, +0.2] × 3 − x, a-b") == r"$-$0.5 [$-$1e-05, +0.2] $\times$ 3 $-$ x, a-b"
    assert latex_text(r"\^~#{$}") == r"\textbackslash{}\textasciicircum{}\textasciitilde{}\#\{\$\}"


def test_an_archive_written_twice_has_the_same_bytes(tmp_path: Path) -> None:
    results = named(tmp_path)
    write_archive(results.logs, [results.grid], tmp_path / "one")
    write_archive(open_logs(tmp_path / "one"), [results.grid], tmp_path / "two")
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert "traceback" not in (tmp_path / "one" / "trials.json").read_text()


def test_a_folder_without_logs_is_told(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="neither a ledger nor an archive"):
        open_logs(tmp_path)


def test_a_lesson_asked_otherwise_before_is_exploratory(tmp_path: Path) -> None:
    results = with_changes(named(tmp_path), other_declarations=("abcdef",))
    lesson = Lesson.of(results)
    assert verdicts(lesson)["good"] == "exploratory: better"
    assert any("was declared differently before (grid abcdef)" in note for note in notes(lesson))


def test_trials_of_other_code_are_stale(tmp_path: Path) -> None:
    results = named(tmp_path)
    trial = results.trials_of("good")[0]
    semantic: dict[str, Any] = {"code_versions": {**CODE_VERSIONS, "model": 0}, "objective": [], "infill": None}
    ledger_of(results).trial(trial).update(semantic=semantic)
    fresh = GridResults(results.logs, results.grid)
    stale = stale_trials(fresh)
    assert stale == {trial: [f"model 0 → {CODE_VERSIONS['model']}"]}
    lesson = Lesson.of(fresh, stale)
    assert verdicts(lesson) == {"good": "stale: better", "alike": "equivalent"}
    assert any(note.startswith("Stale: 1 trials ran with other code (model 0") for note in notes(lesson))


def test_a_score_that_is_no_number_is_left_out_and_told(tmp_path: Path) -> None:
    results = named(tmp_path)
    folder = ledger_of(results).trial(results.trials_of("good")[2])
    folder.update(evaluations={"eval": {**folder.record().evaluations["eval"], "bpb_full": float("nan")}})
    lesson = Lesson.of(GridResults(results.logs, results.grid))
    assert lesson.primary is not None
    assert {one.contrast.name: one.seeds for one in lesson.primary.comparisons} == {"alike": 5}
    assert "good, seed 2: bpb_full is not a finite number, so the trial counts as diverged." in notes(lesson)
    assert any(note.startswith("Diverged: good") and "left out of all comparisons" in note for note in notes(lesson))


def test_an_arm_without_the_metric_is_told(tmp_path: Path) -> None:
    results = named(tmp_path)
    for trial in results.trials_of("good"):
        ledger_of(results).trial(trial).update(evaluations={"eval": {"bpb_continuation": 2.0}})
    lesson = Lesson.of(GridResults(results.logs, results.grid))
    assert "good can't be compared: good has no bpb_full." in notes(lesson)
    assert verdicts(lesson)["alike"] == "equivalent"


def test_pairing_saves_seeds(tmp_path: Path) -> None:
    """The made-up grid's seeds move both arms by a hundred times their noise."""
    [seeds, _] = required_seeds(named(tmp_path))
    assert seeds.correlation > 0.99
    assert seeds.difference == pytest.approx(-0.1, abs=0.01)
    assert seeds.paired == 2
    assert seeds.welch is not None
    # The seeds' own deviation is 0.158: 2 (z + z)² σ² / δ².
    assert seeds.welch == pytest.approx(2 * 2.8**2 * 0.158**2 / 0.1**2, abs=4)


def test_an_aa_test_counts_false_positives(tmp_path: Path) -> None:
    one, _ = make_grid(tmp_path / "one", {"causal": 0.0}, seeds=7, name="seed_noise_0")

    def comparisons(offset: float) -> list[AAComparison]:
        """With a grid of one arm that differs by its noise and `offset`."""
        other, _ = make_grid(tmp_path / str(offset), {"causal": 0.0, "other": offset}, seeds=7, name="seed_noise_1")
        return list(aa_test(one, with_changes(other, arms=other.grid.arms[1:]), "bpb_full", 3))

    assert [pair.data_seeds for pair in comparisons(0.0)] == [("0", "1", "2"), ("3", "4", "5")]
    assert not any(pair.is_false_positive for pair in comparisons(0.0))
    assert all(pair.is_false_positive for pair in comparisons(0.5))
