"""The verbs about a ledger, from the command line, on a grid with a finished, a failed and a diverged trial."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import ablate, wait_for, with_tiny
from tests.support.forked import fork
from tests.support.in_process import run_in_process
from tests.support.text import write_text

pytestmark = pytest.mark.usefixtures("no_figures")

GRID = ["-m", "optimizer.learning_rate=1e-3,40", "seed=0,1", "optimizer.clip_norm=0", "divergence.window_steps=2"]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder, and the trials by rate and seed; both trials at a rate of 40 diverged, one of the others failed."""
    folder = tmp_path_factory.mktemp("some ledger")
    write_text(folder / "text", 40, seed=0)
    done = ablate(folder, *GRID)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "diverged 2/2" in done.stdout
    trials = {}
    for path in (folder / "runs").glob("*/record.json"):
        record = json.loads(path.read_text())
        trials[f"{record['options']['optimizer.learning_rate']} {record['options']['seed']}"] = record["trial_id"]
    failed = folder / "runs" / trials["0.001 1"] / "record.json"
    record = json.loads(failed.read_text())
    record |= {"status": "failed", "failure": {"message": "OSError: disk", "traceback": "disk"}, "evaluations": {}}
    failed.write_text(json.dumps(record))
    return folder, trials


def statuses(folder: Path, *words: str) -> dict[str, dict[str, Any]]:
    shown = run_in_process(folder, "status", "--json", *words)
    assert shown.returncode == 0, shown.stderr
    return {trial["trial_id"]: trial for trial in json.loads(shown.stdout)["trials"]}


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"format": "1"}', '{"format": 1, "trial_id": 7}'])
def test_a_damaged_record_stops_no_other_trial(ledger: tuple[Path, dict[str, str]], content: str) -> None:
    folder, trials = ledger
    damaged, finished = (folder / "runs" / trials[name] for name in ("40 0", "0.001 0"))
    lesson = run_in_process(folder, "lessons").stdout
    assert "diverged 2/2" in lesson
    record = damaged / "record.json"
    before = record.read_text()
    lease, checkpoint = damaged / "lease.1", finished / "checkpoints" / "step-000000003"
    lease.write_text(json.dumps({"host": "gone", "pid": 1, "born": "1", "token": "x"}))
    subprocess.run(["touch", "-d", "2 hours ago", str(lease)], check=True)
    checkpoint.mkdir(parents=True)
    try:
        record.write_text(content)
        trial = statuses(folder)[damaged.name]
        assert (trial["status"], trial["options"], trial["progress"]) == ("damaged", {}, 0.0)
        assert trial["failure"].startswith(f"{record}: is damaged")
        printed = run_in_process(folder, "status").stdout
        assert "4 trials: 1 damaged, 1 failed, 1 diverged, 1 finished." in printed
        assert f"{damaged.name} damaged: {record}: is damaged" in printed.replace("\n", "")
        for words in (["lessons"], ["lessons", "--html"]):
            done = run_in_process(folder, *words)
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout.count(f"• {record}: is damaged") == 1
        assert "1/2" in ablate(folder, "lessons", *GRID).stdout
        assert "1 of 1 deleted." in run_in_process(folder, "gc", "--trials", "--delete").stdout
        assert (record.read_text(), lease.exists(), checkpoint.exists()) == (content, True, False)
    finally:
        record.write_text(before)
        lease.unlink(missing_ok=True)
        shutil.rmtree(checkpoint, ignore_errors=True)
    assert run_in_process(folder, "lessons").stdout == lesson


def test_a_submitted_trial_is_listed(ledger: tuple[Path, dict[str, str]]) -> None:
    folder, trials = ledger
    record = folder / "runs" / trials["40 0"] / "record.json"
    before = record.read_text()
    record.write_text(json.dumps(json.loads(before) | {"status": "submitted"}))
    printed = run_in_process(folder, "status").stdout
    record.write_text(before)
    assert "4 trials: 1 submitted, 1 failed, 1 diverged, 1 finished." in printed


def test_status_is_for_people_and_programs(ledger: tuple[Path, dict[str, str]]) -> None:
    folder, trials = ledger
    by_id = statuses(folder)
    assert {by_id[trials[name]]["status"] for name in ("40 0", "40 1")} == {"diverged"}
    finished, failed = by_id[trials["0.001 0"]], by_id[trials["0.001 1"]]
    assert (finished["status"], finished["progress"], finished["step"]) == ("finished", 1.0, 5)
    assert finished["options"] == {"optimizer.learning_rate": "0.001", "seed": "0"}
    assert (failed["status"], failed["failure"]) == ("failed", "OSError: disk")
    assert set(statuses(folder, trials["40 0"][:8])) == {trials["40 0"]}
    shown = run_in_process(folder, "status").stdout
    assert "4 trials: 1 failed, 2 diverged, 1 finished." in shown
    assert f"{trials['0.001 1']} failed: OSError: disk" in shown
    [grid] = (folder / "runs" / "grids").glob("*.json")
    assert len(statuses(folder, grid.stem)) == 4
    of_grid = ablate(folder, "status", "--json", *GRID)
    assert {trial["trial_id"] for trial in json.loads(of_grid.stdout)["trials"]} == set(trials.values())


def test_status_sees_a_trial_run_and_its_process_die(ledger: tuple[Path, dict[str, str]]) -> None:
    folder, _ = ledger
    words = with_tiny(folder, "objective=prefix", "seed=9", "budget.train_tokens=4000000", "runs_dir=elsewhere")
    command = fork(folder, *words)
    leases: list[Path] = []

    def is_running() -> bool:
        leases[:] = (folder / "elsewhere").glob("*/lease.*")
        trials = list(statuses(folder, "runs_dir=elsewhere").values()) if leases else []
        return [trial["status"] for trial in trials] == ["running"] and bool(trials[0]["step"])

    wait_for(is_running)
    pid = int(json.loads(leases[0].read_text())["pid"])
    for number in (command.pid, pid):
        os.kill(number, signal.SIGKILL)
    command.wait(60)
    time.sleep(0.5)
    [trial] = statuses(folder, "runs_dir=elsewhere").values()
    assert (trial["status"], "exited without reporting an error" in trial["failure"]) == ("failed", True)


def test_diff_explains_two_ids_and_lists_the_rest(ledger: tuple[Path, dict[str, str]]) -> None:
    folder, trials = ledger
    printed = run_in_process(folder, "diff", trials["0.001 0"], trials["40 0"]).stdout
    first, *_ = printed.splitlines()
    assert first.endswith(f"{trials['40 0']}: optimizer.learning_rate: 0.001 → 40.0")
    assert "configuration: changes the id" not in printed
    assert "results" in printed
    whole = run_in_process(folder, "diff", trials["0.001 0"], trials["40 0"], "--all").stdout
    assert "configuration: changes the id\n  optimizer.learning_rate: 0.001 → 40.0  (+40)\n" in whole
    assert 'status: "finished" → "diverged"' in printed
    assert "the same trial" in run_in_process(folder, "diff", trials["0.001 0"][:6], trials["0.001 0"]).stdout


def test_diff_compares_a_trial_with_what_a_command_would_run(ledger: tuple[Path, dict[str, str]]) -> None:
    folder, trials = ledger
    same = [*GRID[3:], "optimizer.learning_rate=1e-3", "seed=0", "tracking.log_every_steps=3"]
    other = ablate(folder, "diff", trials["0.001 0"], *same, "block.partial_rotary_factor=1.0", "objective=prefix")
    first, *_ = other.stdout.splitlines()
    assert "block.partial_rotary_factor: 0.5 → 1.0" in first
    assert "objective: causal → prefix" in first, other.stdout + other.stderr
    assert "configuration: operational\n  tracking.log_every_steps: 2 → 3\n" in other.stdout


def test_retry_resets_trials_and_archives_their_files(ledger: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    folder, trials = Path(shutil.copytree(ledger[0], tmp_path / "copy")), ledger[1]
    [grid] = (folder / "runs" / "grids").glob("*.json")
    diverged = folder / "runs" / trials["40 1"]
    assert list(diverged.glob("checkpoints/step-*"))
    printed = run_in_process(folder, "retry", trials["40 1"]).stdout
    assert f"{trials['40 1']}: was diverged, reset; it starts from the beginning" in printed
    assert f"To run them:\n  {json.loads(grid.read_text())['command']}\n" in printed
    assert not list(diverged.glob("checkpoints/step-*"))
    assert list(diverged.glob("attempts/01/checkpoints/step-*"))
    assert (diverged / "attempts" / "01" / "metrics.jsonl").exists()
    assert statuses(folder)[trials["40 1"]]["status"] == "pending"
    done = ablate(folder, "retry", *GRID)
    assert f"{trials['0.001 1']}: was failed, reset" in done.stdout
    assert "3 to run" in done.stdout
    assert "diverged 2/2" in done.stdout
    assert done.returncode == 0
    assert statuses(folder)[trials["0.001 1"]]["status"] == "finished"
    nothing = run_in_process(folder, "retry", trials["0.001 1"])
    assert "Nothing failed or diverged here." in nothing.stdout


def test_gc_lists_first_and_deletes_with_a_flag(ledger: tuple[Path, dict[str, str]]) -> None:
    folder, trials = ledger
    trial = folder / "runs" / trials["0.001 0"]
    left = [trial / "checkpoints" / "step-000000003", trial / "attempts" / "01"]
    for path in left:
        path.mkdir(parents=True)
        (path / "state.pt").write_bytes(bytes(1_000_000))
    lease = trial / "lease.1"
    lease.write_text(json.dumps({"host": "gone", "pid": 1, "born": "1", "token": "x"}))
    subprocess.run(["touch", "-d", "2 hours ago", str(lease)], check=True)
    scratch = trial / ".model.pt.abc"
    scratch.write_bytes(b"half")
    subprocess.run(["touch", "-d", "1 hour ago", str(scratch)], check=True)
    fresh = trial / ".record.json.abc"
    fresh.write_bytes(b"being written")
    listed = run_in_process(folder, "gc")
    assert listed.returncode == 0, listed.stderr
    assert "2.0 MB can be deleted: python -m ablate gc --delete" in listed.stdout
    for path in [*left, lease, scratch]:
        assert str(path.relative_to(folder / "runs")) in listed.stdout
        assert path.exists()
    assert fresh.name not in listed.stdout
    removed = run_in_process(folder, "gc", "--delete")
    assert "4 of 4 deleted." in removed.stdout, removed.stdout + removed.stderr
    assert not any(path.exists() for path in [*left, lease, scratch])
    assert fresh.exists()
    fresh.unlink()
    assert "Nothing can be deleted." in run_in_process(folder, "gc").stdout


def test_gc_deletes_whole_trials_only_with_a_flag(ledger: tuple[Path, dict[str, str]]) -> None:
    folder, _ = ledger
    orphan = folder / "runs" / "ffffffffffff"
    orphan.mkdir()
    (orphan / "config.yaml").write_text("a: 1\n")
    assert "ffffffffffff" not in run_in_process(folder, "gc").stdout
    assert "trials that no grid or tuning names" in run_in_process(folder, "gc", "--trials").stdout
    run_in_process(folder, "gc", "--trials", "--delete")
    assert not orphan.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["status", "nothing"], "nothing: no such trial below"),
        (["status", "--jsn"], "status --jsn: no such flag. Did you mean --json?"),
        (["status", "runs_dir=nowhere"], "there is no ledger here"),
        (
            ["status", "objective=causal"],
            "takes no objective=causal without -m. Usage:\n  python -m ablate status [ID …]",
        ),
        (["diff", "a"], "diff a: takes two trial ids, or one and the overrides of another trial."),
        (["retry"], "retry: takes ids of trials, grids or tunings"),
        (["gc", "-m"], "gc takes no grid. Leave -m out."),
        (["gc", "all"], "gc all: takes no names"),
    ],
)
def test_a_wrong_word_is_named(ledger: tuple[Path, dict[str, str]], words: list[str], message: str) -> None:
    folder, _ = ledger
    done = run_in_process(folder, *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_ledger_of_a_newer_ablate_is_refused(ledger: tuple[Path, dict[str, str]]) -> None:
    folder, trials = ledger
    path = folder / "runs" / trials["40 0"] / "record.json"
    before = path.read_text()
    path.write_text(json.dumps({**json.loads(before), "format": 99}))
    for words in (["status"], ["lessons"]):
        done = run_in_process(folder, *words)
        assert done.returncode == 1
        assert "written by a newer ablate (format 99, this one knows 1). Update ablate" in done.stderr
    path.write_text(before)


def test_an_edited_frozen_config_is_refused_with_what_was_edited(ledger: tuple[Path, dict[str, str]]) -> None:
    folder, trials = ledger
    trial = folder / "runs" / trials["0.001 0"]
    config = trial / "config.yaml"
    before = config.read_text()
    config.write_text(before.replace("learning_rate: 0.001", "learning_rate: 0.002"))
    program = (
        "from pathlib import Path; from ablate.scheduling.job import Job\n"
        "from ablate.scheduling.supervisor import supervise\n"
        f"supervise(Job({trial.name!r}, Path({str(trial.parent)!r})))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    config.write_text(before)
    assert "optimizer.learning_rate: 0.001 → 0.002" in done.stderr
    assert statuses(folder)[trials["0.001 0"]]["status"] == "finished", "and its results are kept"
