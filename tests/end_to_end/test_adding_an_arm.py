"""The arm of docs/tutorial/adding-an-arm.md, from a package of its own, from the command line to a lesson."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.command_line import command
from tests.support.text import write_text

DOC = Path(__file__).parents[2] / "docs" / "tutorial" / "adding-an-arm.md"


def block(name: str) -> str:
    """A marked block of the document, without its fence."""
    found = re.search(rf"<!-- {re.escape(name)} -->\n```\w+\n(.*?)```\n<!-- /", DOC.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install -e .` leaves of such a package, the YAML beside it, and a little text."""
    folder = tmp_path_factory.mktemp("some one's arm")
    for name in ("incoder_arm.py", "objective/incoder.yaml"):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(block(name))
    about = folder / "incoder_arm-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: incoder-arm\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text("[ablate.components]\nincoder_arm = incoder_arm\n")
    write_text(folder / "text", 40, seed=0)
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(folder)}
    words = command(folder, *arguments)
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=240, env=environment)


def test_an_arm_from_outside_runs_to_a_lesson(outside: Path) -> None:
    done = run(outside, "--config-dir", str(outside), "-m", "objective=causal,incoder", "replicates=2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "incoder (100% span_corruption)" in done.stdout
    assert "infill_bpb_both" in done.stdout, "it was trained to infill"
    records = [json.loads(path.read_text()) for path in (outside / "runs").glob("*/record.json")]
    of_arm = [record for record in records if record["options"]["objective"] == "incoder"]
    assert len(of_arm) == 2
    assert of_arm[0]["provenance"]["versions"]["incoder-arm"] == "1.2"
    assert {"poisson_spans": 1, "span_corruption": 2} in of_arm[0]["semantic"]["objective"][0]


def test_its_rows_can_be_shown_and_its_mistakes_are_told(outside: Path) -> None:
    shown = run(outside, "data", "show", "--config-dir", str(outside), "objective=incoder")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "<mask_1>" in shown.stdout
    wrong = run(
        outside, "--config-dir", str(outside), "objective=incoder", "objective.tasks.incoder.noise.mean_spans=0"
    )
    assert wrong.returncode == 2
    assert "objective.tasks.incoder.noise.mean_spans=0: should be greater than 0." in wrong.stderr
    many = run(outside, "--config-dir", str(outside), "objective=incoder", "objective.tasks.incoder.noise.max_spans=99")
    assert many.returncode == 2
    assert "can draw 99 spans in a window of 40 tokens, the tokenizer has 64 mask sentinels" in many.stderr


def test_a_package_that_cannot_be_imported_is_named(outside: Path, tmp_path: Path) -> None:
    (tmp_path / "broken_arm-0.1.dist-info").mkdir()
    (tmp_path / "broken_arm-0.1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: broken-arm\nVersion: 0.1\n"
    )
    (tmp_path / "broken_arm-0.1.dist-info" / "entry_points.txt").write_text("[ablate.components]\nx = broken_arm\n")
    (tmp_path / "broken_arm.py").write_text("import not_there\n")
    words = command(outside)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(words, cwd=outside, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 1
    assert "The components of broken-arm (broken_arm) cannot be imported: ModuleNotFoundError" in done.stderr
