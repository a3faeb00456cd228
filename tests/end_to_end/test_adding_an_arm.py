"""The arm of docs/tutorial/adding-an-arm.md, from a package of its own, from the command line to a lesson."""

import json
from pathlib import Path

import pytest

from tests.support.packages import run_with_package, write_package, write_tutorial_package


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("some one's arm")
    write_tutorial_package(folder, "adding-an-arm.md", "incoder_arm", "1.2", ["objective/incoder.yaml"])
    return folder


def test_an_arm_from_outside_runs_to_a_lesson(outside: Path) -> None:
    done = run_with_package(outside, "--config-dir", str(outside), "-m", "objective=causal,incoder", "replicates=2")
    assert done.returncode == 0, done.stdout + done.stderr
    [lesson] = (outside / "runs" / "grids").glob("*/lesson.md")
    assert "incoder (100% span_corruption)" in lesson.read_text()
    assert "infill_bpb_both" in done.stdout, "it was trained to infill"
    records = [json.loads(path.read_text()) for path in (outside / "runs").glob("*/record.json")]
    of_arm = [record for record in records if record["options"]["objective"] == "incoder"]
    assert len(of_arm) == 2
    assert of_arm[0]["provenance"]["versions"]["incoder-arm"] == "1.2"
    assert {"poisson_spans": 1, "span_corruption": 2} in of_arm[0]["semantic"]["objective"][0]


def test_its_rows_can_be_shown_and_its_mistakes_are_told(outside: Path) -> None:
    shown = run_with_package(outside, "data", "show", "--config-dir", str(outside), "objective=incoder")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "<mask_1>" in shown.stdout
    wrong = run_with_package(
        outside, "--config-dir", str(outside), "objective=incoder", "objective.tasks.incoder.noise.mean_spans=0"
    )
    assert wrong.returncode == 2
    assert "objective.tasks.incoder.noise.mean_spans=0: should be greater than 0." in wrong.stderr
    many = run_with_package(
        outside, "--config-dir", str(outside), "objective=incoder", "objective.tasks.incoder.noise.max_spans=99"
    )
    assert many.returncode == 2
    assert "can draw 99 spans in a window of 40 tokens, the tokenizer has 64 mask sentinels" in many.stderr


def test_a_package_that_cannot_be_imported_is_named(outside: Path, tmp_path: Path) -> None:
    write_package(tmp_path, "broken_arm", "0.1", "import not_there\n")
    done = run_with_package(outside, package=tmp_path)
    assert done.returncode == 1
    assert "The components of broken-arm (broken_arm) cannot be imported: ModuleNotFoundError" in done.stderr
