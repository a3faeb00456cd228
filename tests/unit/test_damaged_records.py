"""A damaged file of a ledger is named, and everything else works."""

import json
from pathlib import Path

import pytest

from ablate.records.ledger import Ledger
from ablate.verbs.gc import garbage
from tests.support.in_process import Completed, run_in_process
from tests.support.ledgers import folder_of, ledger_of, make_grid


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Two arms with three seeds each; every trial has a frozen configuration."""
    results, _ = make_grid(tmp_path, {"causal": 0.0, "good": -0.1})
    found = ledger_of(results)
    for folder in found.runs_dir.glob("0*"):
        (folder / "config.yaml").write_text("{}\n")
    return found


def run(ledger: Ledger, *words: str) -> Completed:
    return run_in_process(ledger.runs_dir.parent, *words)


FIRST, SECOND = "000000000000", "000001000001"
DAMAGE = [b"", b"\xff\xfe", b'{"format": 1, "trial_id": ["a"]}']


@pytest.mark.parametrize("content", DAMAGE)
def test_a_damaged_trial_is_named_by_every_verb(ledger: Ledger, content: bytes) -> None:
    path = ledger.trial(FIRST).record_path
    path.write_bytes(content)
    told = f"{path}: is damaged"
    status = run(ledger, "status", "--json")
    states = {trial["trial_id"]: trial["status"] for trial in json.loads(status.stdout)["trials"]}
    assert (states[FIRST], states[SECOND], len(states)) == ("damaged", "finished", 6)
    lessons = run(ledger, "lessons")
    assert lessons.returncode == 0, lessons.stderr
    assert told in lessons.stdout
    assert "better" in lessons.stdout
    cleaned = run(ledger, "gc")
    assert (cleaned.returncode, told in cleaned.stdout) == (0, True)
    for words in (["diff", FIRST, SECOND], ["export", FIRST, "folder"], ["retry", FIRST]):
        done = run(ledger, *words)
        assert (done.returncode, done.stderr.startswith(f"ablate: {told}"), "Traceback" in done.stderr) == (
            1,
            True,
            False,
        )
    assert run(ledger, "diff", SECOND, "000001000002").returncode == 0
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", DAMAGE[:2])
def test_a_damaged_grid_is_named_and_keeps_its_trials(ledger: Ledger, content: bytes) -> None:
    path = ledger.runs_dir / "grids" / "damaged.json"
    path.write_bytes(content)
    (ledger.runs_dir / "tunings").mkdir()
    (ledger.runs_dir / "tunings" / "damaged.json").write_bytes(content)
    assert run(ledger, "status").returncode == 0
    for words in (["lessons"], ["lessons", "--html"]):
        done = run(ledger, *words)
        assert (done.returncode, done.stdout.count(f"• {path}: is damaged")) == (0, 1), done.stderr
    ledger.trial("abandoned").config_path.parent.mkdir()
    ledger.trial("abandoned").config_path.write_text("{}\n")
    cleaned = run(ledger, "gc", "--trials")
    assert f"• {path}: is damaged" in cleaned.stdout
    assert "Trials are kept" in cleaned.stdout
    assert not list(garbage(ledger, with_trials=True))
    path.unlink()
    (ledger.runs_dir / "tunings" / "damaged.json").unlink()
    assert [item.path.name for item in garbage(ledger, with_trials=True)] == ["abandoned"]


@pytest.mark.parametrize("content", [b"", b"\xff", b"[1", b"- a: b: c"])
def test_a_damaged_configuration_is_named(ledger: Ledger, content: bytes) -> None:
    path = ledger.trial(FIRST).config_path
    path.write_bytes(content)
    done = run(ledger, "diff", FIRST, SECOND)
    assert (done.returncode, done.stderr.startswith(f"ablate: {path}: is not a configuration")) == (1, True)


def test_a_damaged_log_is_named_and_the_lesson_is_without_its_trial(ledger: Ledger) -> None:
    path = ledger.trial(FIRST).metrics_path
    path.write_bytes(path.read_bytes() + b"\xff\xfe\n[1]\n")
    done = run(ledger, "lessons")
    assert f"• {path}: line 3 is damaged" in done.stdout
    assert "Traceback" not in done.stderr
    assert run(ledger, "status").returncode == 0


def test_a_lesson_of_a_mirror_never_replaces_that_of_the_ledger(ledger: Ledger) -> None:
    assert run(ledger, "lessons").returncode == 0
    assert run(ledger, "lessons", "--html").returncode == 0
    results, _ = make_grid(ledger.runs_dir.parent / "other", {"causal": 0.0, "good": -0.1})
    folder = ledger.runs_dir / "grids" / folder_of(results).name
    files = {path: path.read_bytes() for path in [*folder.iterdir(), ledger.runs_dir / "lessons.html"]}
    assert {path.name for path in files} > {"lesson.md", "lesson.csv", "curves.png", "lessons.html"}
    run_folder = ledger.trial(FIRST).path / "wandb" / f"offline-run-20260101_000000-{FIRST}"
    run_folder.mkdir(parents=True)
    (run_folder / f"run-{FIRST}.wandb").write_bytes(b"damaged")
    for words in (["lessons", "wandb=offline"], ["lessons", "--html", "wandb=offline"]):
        assert "is not a W&B file" in run(ledger, *words).stdout
    assert {path: path.read_bytes() for path in files} == files
