"""A grid from the command line on a small corpus of files, in a folder with a space in its name."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.command_line import ablate, start, wait_for, with_tiny
from tests.support.forked import fork
from tests.support.in_process import run_in_process
from tests.support.text import write_text

GRID = ["-m", "objective=causal,prefix,mixed", "replicates=2", "tracking.wandb=offline"]


def records(folder: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in (folder / "runs").glob("*/record.json")]
    return {f"{record['options'].get('objective', '')} {record['options']['seed']}": record for record in found}


def grid_of(printed: str) -> str:
    """The id of the grid that a command ran; other tests add grids to the folder, in any order."""
    found = re.search(r"^Grid (\w{12}): ", printed, re.MULTILINE)
    assert found is not None, printed
    return found[1]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which the grid was run once, and what that printed."""
    folder = tmp_path_factory.mktemp("a folder")
    write_text(folder / "text", 40, seed=0)
    done = ablate(folder, *GRID)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return folder, done.stdout


def test_a_grid_ends_in_a_lesson(finished: tuple[Path, str]) -> None:
    folder, printed = finished
    assert "3 arms × 2 seeds, 6 trials, 6 to run" in printed
    assert printed.count("finished  ") == 6
    assert "Does changing objective change bpb_continuation?" in printed
    lesson = folder / "runs" / "grids" / grid_of(printed)
    *_, prefix, mixed, _, step, _, notes, html = printed.splitlines()
    for line, arm in ((prefix, "prefix"), (mixed, "mixed")):
        assert line.split()[0] == arm
        assert "no better than unigram: " in line, "sixteen steps teach nothing"
    assert step.startswith("Undecided. A verdict takes about ")
    assert notes == f"Notes: {Path('runs', 'grids', lesson.name, 'lesson.md')}"
    assert html == f"Page:  {Path('runs', 'grids', lesson.name, 'lesson.html')}"
    assert {path.name for path in lesson.iterdir()} == {
        *("lesson.md", "lesson.csv", "lesson.html", "curves.png", "curves.pdf", "comparisons.png", "comparisons.pdf")
    }
    page = (lesson / "lesson.md").read_text()
    for words in (
        *("| bpb_continuation | prefix |", "| bpb_full/text | mixed |", "One trial's noise", "Detectable"),
        "Trained on other tasks: prefix (100% prefix); mixed (50% causal, 50% span_corruption)",
        "A unigram model of the training mixture reaches bpb_full",
    ):
        assert words in page


def test_every_trial_keeps_its_record(finished: tuple[Path, str]) -> None:
    folder, printed = finished
    grid = grid_of(printed)
    found = {cell: record for cell, record in records(folder).items() if record["first_grid"] == grid}
    assert set(found) == {f"{arm} {seed}" for arm in ("causal", "prefix", "mixed") for seed in (0, 1)}
    for record in found.values():
        assert record["status"] == "finished"
        assert record["provenance"]["versions"]["torch"]
        trial = folder / "runs" / record["trial_id"]
        names = {path.name for path in trial.iterdir()}
        expected = {"config.yaml", "record.json", "metrics.jsonl", "metrics.parquet", "evaluations", "model.pt"}
        assert names == expected | {"log.txt", "wandb"}
        assert list(trial.glob("wandb/offline-run-*/*.wandb"))
        assert yaml.safe_load((trial / "config.yaml").read_text())["init_seed"] == int(record["options"]["seed"])
    counted = {record["result"]["counters"]["train_tokens"] for record in found.values()}
    assert counted == {800}
    assert (
        found["prefix 0"]["result"]["counters"]["loss_tokens"] < found["causal 0"]["result"]["counters"]["loss_tokens"]
    )
    assert found["prefix 0"]["result"]["counters"]["windows"] == found["causal 0"]["result"]["counters"]["windows"]
    assert found["prefix 0"]["result"]["counters"]["windows"] != found["prefix 1"]["result"]["counters"]["windows"]


def test_nothing_is_written_elsewhere(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    assert {path.name for path in folder.iterdir()} == {"text", "cache", "runs"}
    assert {path.name for path in (folder / "runs").iterdir() if len(path.name) != 12} - {"diffs"} == {"grids"}


def test_the_same_command_again_trains_nothing(finished: tuple[Path, str]) -> None:
    folder, printed = finished
    before = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/*") if path.parent.name != "grids"}
    again = ablate(folder, *GRID)
    assert again.returncode == 0, again.stderr
    assert "0 to run" in again.stdout
    after = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/*") if path.parent.name != "grids"}
    assert before == after
    table = printed[printed.index("Does changing") :]
    assert again.stdout.endswith(table)
    for verb in (["lessons"], ["lessons", *GRID]):
        shown = ablate(folder, *verb) if len(verb) > 1 else run_in_process(folder, *verb)
        assert shown.returncode == 0, shown.stderr
        assert table in shown.stdout


def test_a_larger_grid_runs_only_what_is_missing(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    done = ablate(folder, "-m", "objective=causal", "architecture=prefix_decoder,causal_decoder", "replicates=2")
    assert done.returncode == 0, done.stderr
    assert "0 to run" in done.stdout, "without spans both decoders are one trial"
    note = "causal_decoder is the same trial as prefix_decoder."
    assert note in (folder / "runs" / "grids" / grid_of(done.stdout) / "lesson.md").read_text()


def test_a_failed_cell_stops_no_other_and_is_run_again(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    grid = ["-m", "objective=causal,mixed", "seed=7"]
    first = ablate(folder, *grid, "budget.train_tokens=320")
    assert first.returncode == 0, first.stderr
    record = records(folder)["mixed 7"]
    trial = folder / "runs" / record["trial_id"]
    for cell in ("causal 7", "mixed 7"):
        path = folder / "runs" / records(folder)[cell]["trial_id"] / "record.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "status": "pending", "evaluations": {}}))
    (trial / "model.pt").write_bytes(b"no weights")
    done = ablate(folder, *grid, "budget.train_tokens=320")
    assert done.returncode == 1
    assert "Failed: mixed, seed 7" in done.stdout
    assert f"log: {trial}/log.txt" in done.stdout
    assert "1 of 2 trials failed or ended early; the same command continues them." in done.stdout
    assert records(folder)["causal 7"]["status"] == "finished"
    assert f"{trial / 'model.pt'} is missing or damaged." in records(folder)["mixed 7"]["failure"]["message"]
    (trial / "model.pt").unlink()
    assert ablate(folder, *grid, "budget.train_tokens=320").returncode == 0
    assert records(folder)["mixed 7"]["status"] == "finished"


def count(folder: Path, status: str, seeds: tuple[str, ...]) -> int:
    return sum(record["status"] == status for record in records(folder).values() if record["options"]["seed"] in seeds)


def test_ctrl_c_loses_nothing_that_is_finished(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    seeds = ("21", "22", "23")
    grid = ["-m", "objective=causal", "seed=21,22,23", "budget.train_tokens=20000", "hardware.parallel_trials=2"]
    process = start(folder, *grid)
    wait_for(lambda: count(folder, "finished", seeds) >= 1 and count(folder, "running", seeds) >= 1)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "Interrupted." in out
    assert "failed" not in out, "a trial that was ended did not fail"
    assert "Traceback" not in out + err
    kept = count(folder, "finished", seeds)
    assert kept >= 1
    assert count(folder, "pending", seeds) == 3 - kept
    assert not list(folder.glob("runs/*/lease.*"))
    again = ablate(folder, *grid)
    assert again.returncode == 0, again.stderr
    assert f"{3 - kept} to run" in again.stdout


def running_trial(folder: Path) -> tuple[Path, int]:
    """The trial that is being trained and its process."""
    wait_for(lambda: [path for path in folder.glob("runs/*/lease.*") if (path.parent / "metrics.jsonl").exists()])
    [lease] = [path for path in folder.glob("runs/*/lease.*") if (path.parent / "metrics.jsonl").exists()]
    return lease.parent, int(json.loads(lease.read_text())["pid"])


def test_a_killed_trial_is_told_while_the_others_go_on(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    grid = ["-m", "objective=causal", "seed=31,32", "budget.train_tokens=20000", "hardware.parallel_trials=1"]
    command = fork(folder, *with_tiny(folder, *grid))
    trial, pid = running_trial(folder)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: json.loads((trial / "record.json").read_text())["status"] == "failed", 30)
    done = command.wait(120)
    out = done.stdout
    assert done.returncode == 1, out + done.stderr
    assert "process exited without reporting an error (killed by SIGKILL, or out of memory?)" in out
    assert "1 of 2 trials failed" in out
    assert count(folder, "finished", ("31", "32")) == 1


def test_a_terminated_grid_leaves_no_trial_behind_and_goes_on_where_it_was(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    grid = ["-m", "objective=causal", "seed=51", "budget.train_tokens=30000"]
    process = start(folder, *grid)
    trial, pid = running_trial(folder)
    wait_for(lambda: len((trial / "metrics.jsonl").read_text().splitlines()) > 5)
    # All of the group, as a scheduler sends it: the command, its server and its trials.
    os.killpg(process.pid, signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Running trials save at their next step" in out
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert count(folder, "pending", ("51",)) == 1
    [checkpoint] = (trial / "checkpoints").iterdir()
    step = int(checkpoint.name.removeprefix("step-"))
    rows = (trial / "metrics.jsonl").read_text()
    done = ablate(folder, *grid)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"to run from step {step:,}" in done.stdout
    record = json.loads((trial / "record.json").read_text())
    assert [(attempt["from_step"], attempt["ended"]) for attempt in record["attempts"]] == [
        (0, "pending"),
        (step, "finished"),
    ]
    assert (trial / "metrics.jsonl").read_text().startswith(rows), "not a row is lost or written twice"
    assert not (trial / "checkpoints").exists(), "a finished trial has its weights"


def test_a_second_command_waits_for_what_the_first_one_runs(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    words = with_tiny(folder, "-m", "objective=causal", "seed=52", "budget.train_tokens=20000")
    first = fork(folder, *words)
    trial, pid = running_trial(folder)
    # It stands still until the second command waits, however long that takes to start.
    os.kill(pid, signal.SIGSTOP)
    second = fork(folder, *words)
    try:
        wait_for(lambda: "Waiting for 1 trial that other processes run" in second.printed())
    finally:
        os.kill(pid, signal.SIGCONT)
    assert "run by another process" in second.printed()
    one, other = first.wait(120), second.wait(120)
    assert (one.returncode, other.returncode) == (0, 0), one.stdout + one.stderr + other.stdout + other.stderr
    lesson = one.stdout[one.stdout.index("What does this one arm reach?") :]
    assert other.stdout.endswith(lesson), "both print the same lesson"
    assert len(json.loads((trial / "record.json").read_text())["attempts"]) == 1


def test_a_second_command_takes_over_what_the_first_one_lost(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    grid = ["-m", "objective=causal", "seed=53", "budget.train_tokens=30000", "checkpoint.every_steps=20"]
    first = fork(folder, *with_tiny(folder, *grid))
    trial, pid = running_trial(folder)
    second = fork(folder, *with_tiny(folder, *grid))
    wait_for(lambda: list((trial / "checkpoints").glob("step-*")))
    # The machine of the first one goes away, with everything on it.
    os.kill(first.pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    done = second.wait(120)
    first.wait(60)
    assert done.returncode == 0, done.stdout + done.stderr
    attempts = json.loads((trial / "record.json").read_text())["attempts"]
    assert [attempt["ended"] for attempt in attempts] == ["died", "finished"]
    assert attempts[1]["from_step"] >= 20


def test_a_trial_that_cannot_begin_is_told(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    grid = ["-m", "objective=causal", "seed=61", "budget.train_tokens=320"]
    assert ablate(folder, *grid).returncode == 0
    # The objective of a grid of one arm is no option.
    trial = folder / "runs" / records(folder)[" 61"]["trial_id"]
    for path in ("record.json", "log.txt"):
        (trial / path).unlink()
    (trial / "log.txt").mkdir()
    done = ablate(folder, *grid)
    assert done.returncode == 1
    assert "process ended before the trial began (exit code 1)" in done.stdout


def test_hydra_s_own_launcher_works_too(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    done = ablate(folder, "-m", "objective=causal", "seed=41,42", "hydra/launcher=basic")
    assert done.returncode == 0, done.stdout + done.stderr
    assert count(folder, "finished", ("41", "42")) == 2


def test_a_single_trial_needs_no_grid(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    done = ablate(folder, "objective=prefix")
    assert done.returncode == 0, done.stderr
    assert "1 arm × 1 seed" in done.stdout
    assert "0 to run" in done.stdout, "it is the grid's trial with seed 0"
