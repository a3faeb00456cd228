"""Suites added to trained trials: ours, and that of docs/tutorial/adding-a-suite.md from a package outside of ours."""

from pathlib import Path

import pytest

from ablate.records.ledger import Ledger, TrialFolder
from tests.support.command_line import ablate
from tests.support.in_process import Completed, run_in_process
from tests.support.packages import run_with_package, write_tutorial_package
from tests.support.text import write_text

pytestmark = pytest.mark.usefixtures("no_figures")


def times(folder: TrialFolder) -> dict[str, int]:
    """When each file of a trial that training or scoring writes was changed."""
    paths = [folder.model_path, folder.metrics_path, *folder.path.glob("evaluations/*")]
    return {path.name: path.stat().st_mtime_ns for path in paths}


def suites(folder: Path) -> dict[str, str]:
    """The suites of the newest grid."""
    return dict(Ledger(folder / "runs").grids()[0].suites)


def test_adding_or_changing_a_suite_scores_it_alone(tmp_path: Path) -> None:
    write_text(tmp_path / "text", 40, seed=0)
    assert ablate(tmp_path, "evaluation=bits_per_byte").returncode == 0
    [path] = (tmp_path / "runs").glob("*/record.json")
    folder = TrialFolder(path.parent)
    alone, trained, scores = suites(tmp_path), times(folder), folder.record().evaluations
    assert list(alone) == ["bits_per_byte"]
    assert set(scores) == set(alone.values())

    done = ablate(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    both = suites(tmp_path)
    assert both == {**alone, "infill": both["infill"]}
    record = folder.record()
    assert set(record.evaluations) == set(both.values())
    assert record.evaluations[alone["bits_per_byte"]] == scores[alone["bits_per_byte"]]
    scored = {name.removesuffix("_clean") for name in record.evaluations[both["infill"]] if "/" not in name}
    assert scored == {"infill_bpb_left", "infill_bpb_left_aligned", "infill_bpb_left_unaligned"}
    added = f"{both['infill']}.parquet"
    assert times(folder) == {**trained, added: times(folder)[added]}, "nothing else is written again"
    assert [attempt.from_step for attempt in record.attempts] == [0, None], "the second attempt trains nothing"

    before = times(folder)
    assert ablate(tmp_path, "evaluation.suites.infill.middle_bytes=40").returncode == 0
    changed = suites(tmp_path)
    assert changed["bits_per_byte"] == alone["bits_per_byte"]
    assert set(times(folder)) - set(before) == {f"{changed['infill']}.parquet"}
    assert {name: times(folder)[name] for name in before} == before

    assert ablate(tmp_path, "evaluation=bits_per_byte").returncode == 0
    assert len(folder.record().attempts) == 3, "a grid of fewer suites has nothing left to do"


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a suite of one's own")
    configs = ["evaluation/next_token_accuracy.yaml"]
    write_tutorial_package(folder, "adding-a-suite.md", "accuracy_suite", "1.0", configs)
    return folder


def run(folder: Path, *arguments: str) -> Completed:
    return run_with_package(folder, "--config-dir", str(folder), *arguments)


def test_a_suite_from_outside_decides_a_lesson(outside: Path) -> None:
    chosen = "evaluation=[bits_per_byte,next_token_accuracy]"
    options = (chosen, "lesson.primary_metric=next_token_accuracy", "lesson.name=accuracy")
    done = run(outside, "-m", "objective=causal,prefix", "replicates=2", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    ledger = Ledger(outside / "runs")
    grid = ledger.grids()[0]
    assert list(grid.suites) == ["bits_per_byte", "next_token_accuracy"]
    assert grid.declaration.smallest_effect == 0.01, "the metric's own"
    for trial in grid.trial_ids:
        scores = ledger.trial(trial).record().evaluations[grid.suites["next_token_accuracy"]]
        assert 0 <= scores["next_token_accuracy"] <= 1
    # A reader needs the records alone, not the package.
    shown = run_in_process(outside, "lessons", "accuracy", "--notes")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "fraction of the tokens of held-out documents" in " ".join(shown.stdout.split())


def test_mistakes_in_its_use_are_told(outside: Path) -> None:
    unnamed = run(outside, "evaluation=bits_per_byte", "lesson.primary_metric=next_token_accuracy")
    assert unnamed.returncode == 2
    assert "is scored by the suite next_token_accuracy; evaluation names only bits_per_byte." in unnamed.stderr
    assert "Type evaluation=[bits_per_byte,next_token_accuracy]." in unnamed.stderr
    wrong = run(
        outside,
        "evaluation=[bits_per_byte,next_token_accuracy]",
        "evaluation.suites.next_token_accuracy.documents_per_source=0",
    )
    assert wrong.returncode == 2
    assert "evaluation.suites.next_token_accuracy.documents_per_source=0: should be greater than 0." in wrong.stderr
