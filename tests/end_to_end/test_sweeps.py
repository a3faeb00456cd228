"""Sweeps from the command line: tuned arms and their lesson, pruning, killing, sharing, and what is refused."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from ablate import CONF
from ablate.records.optuna import storage
from ablate.records.optuna.studies import studies_of
from ablate.records.schema import read
from ablate.records.tuning import TuningRecord
from tests.support.command_line import ablate, command, with_tiny
from tests.support.forked import fork
from tests.support.in_process import run_in_process
from tests.support.text import write_text

pytestmark = pytest.mark.usefixtures("no_figures")

RATE = "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))"
SMALL = ["evaluation.val_evaluations=4", "evaluation=bits_per_byte", "tracking=none"]
SWEEP = ["-m", RATE, "objective=causal,mixed", "replicates=2", "hydra.sweeper.n_trials=3", *SMALL]
SHORT_SWEEP = ["-m", RATE, "objective=causal,mixed", "replicates=1", "hydra.sweeper.n_trials=2", *SMALL]
PRUNED = ["hydra.sweeper.pruner=median", "hydra.sweeper.pruners.median.n_startup_trials=1"]


def studies(folder: Path) -> dict[str, list[optuna.trial.FrozenTrial]]:
    """By arm, the trials of the newest sweep's studies."""
    newest = max((folder / "runs" / "tunings").glob("*.json"), key=lambda path: path.stat().st_mtime)
    sweep = read(newest, TuningRecord)
    return {arm: study.get_trials() for arm, study in studies_of(sweep, folder / "runs").items()}


def record(folder: Path, trial: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "runs" / trial / "record.json").read_text())
    return found


def attempts(folder: Path) -> dict[str, int]:
    return {
        path.parent.name: len(json.loads(path.read_text())["attempts"])
        for path in (folder / "runs").glob("*/record.json")
    }


def paged(folder: Path) -> str:
    done = run_in_process(folder, "lessons", "--html")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which the sweep was run once, with pruning, and what that printed."""
    folder = tmp_path_factory.mktemp("a sweep")
    write_text(folder / "text", 40, seed=0)
    done = ablate(folder, *SWEEP, *PRUNED)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stderr
    return folder, done.stdout


def test_each_arm_is_tuned_and_then_compared_under_other_seeds(swept: tuple[Path, str]) -> None:
    folder, printed = swept
    assert (
        "2 arms × 3 candidates of optimizer.learning_rate by bpb_continuation on the validation split, 6 to come"
        in printed
    )
    found = studies(folder)
    assert list(found) == ["causal", "mixed"]
    for trials in found.values():
        assert len(trials) == 3
        assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    [grid] = [json.loads(path.read_text()) for path in (folder / "runs" / "grids").glob("*.json")]
    assert [list(arm["trials"]) for arm in grid["arms"]] == [["1", "2"]] * 2, "seed 0 tuned"
    for arm in grid["arms"]:
        [chosen] = grid["tuning"]["arms"][arm["label"]]
        best = min((one for one in found[arm["label"]] if one.values), key=lambda one: one.values[0])
        assert chosen["values"] == best.user_attrs["values"]
        assert chosen["score"] == best.values[0]
        for trial in arm["trials"].values():
            config = record(folder, trial)["semantic"]
            assert config["optimizer"]["learning_rate"] == chosen["values"]["optimizer.learning_rate"]
    [lesson] = (folder / "runs" / "grids").glob("*/lesson.md")
    noted = lesson.read_text()
    assert "Tuned by TPE and median pruning on the validation split's bpb_continuation, 3 candidates per arm" in noted
    assert "Whether tuning changed a verdict is unknown" in noted


def test_each_seed_is_compared_with_the_values_of_its_own_tuning(swept: tuple[Path, str], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(swept[0] / "text", tmp_path / "repeated" / "text")).parent
    words = ["-m", RATE, "objective=causal,mixed", "hydra.sweeper.n_trials=2", "hydra.sweeper.tune_replicates=2"]
    done = ablate(folder, *words, *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 arms × 2 tunings × 2 candidates of optimizer.learning_rate" in done.stdout
    found = studies(folder)
    labels = [f"{arm}, tuning seed {seed}" for arm in ("causal", "mixed") for seed in (0, 1)]
    assert list(found) == labels
    for label, trials in found.items():
        seeds = {record(folder, trial.user_attrs["trial_id"])["semantic"]["init_seed"] for trial in trials}
        assert seeds == {int(label[-1])}
    assert found[labels[0]][0].params != found[labels[1]][0].params, "each tuning draws candidates of its own"
    assert found[labels[0]][0].params == found[labels[2]][0].params, "the arms of one tuning are offered the same"
    [grid] = [json.loads(path.read_text()) for path in (folder / "runs" / "grids").glob("*.json")]
    for arm in grid["arms"]:
        assert list(arm["trials"]) == ["2", "3"], "as many as tunings, and none that tuned"
        for seed, trial in arm["trials"].items():
            of_study = found[f"{arm['label']}, tuning seed {int(seed) - 2}"]
            best = min(of_study, key=lambda one: one.values[0]).user_attrs["values"]["optimizer.learning_rate"]
            assert record(folder, trial)["semantic"]["optimizer"]["learning_rate"] == best
            assert record(folder, trial)["options"]["optimizer.learning_rate"] == f"{best:g}"
    before = attempts(folder)
    assert ablate(folder, *words, *SMALL).returncode == 0
    assert attempts(folder) == before, "the same command finds all of it again"


def test_tuning_leaves_the_test_split_alone(swept: tuple[Path, str]) -> None:
    folder, _ = swept
    for trials in studies(folder).values():
        for trial in trials:
            found = record(folder, trial.user_attrs["trial_id"])
            assert "evaluations" not in found
            if trial.state == TrialState.COMPLETE:
                [scores] = found["validation"].values()
                assert scores["bpb_continuation"] == trial.values[0]
                assert trial.intermediate_values[4] == trial.values[0]


def test_the_same_command_again_trains_nothing(swept: tuple[Path, str]) -> None:
    folder, printed = swept
    before = attempts(folder)
    again = ablate(folder, *SWEEP, *PRUNED)
    assert again.returncode == 0, again.stderr
    assert attempts(folder) == before
    assert "0 to come" in again.stdout
    lesson = "Does changing objective"
    assert again.stdout.partition(lesson)[2] == printed.partition(lesson)[2]
    reported = ablate(folder, "lessons", *SWEEP, *PRUNED)
    assert reported.returncode == 0, reported.stderr
    assert reported.stdout.partition(lesson)[2] == printed.partition(lesson)[2]
    shown = json.loads(ablate(folder, "status", *SWEEP, "--json").stdout)["trials"]
    assert len(shown) == 6 + 4
    assert "1 lesson, 1 tuning: " in paged(folder)
    text = (folder / "runs" / "lessons.html").read_text()
    assert "Tuning optimizer.learning_rate" in text
    assert text.count("<h3>History") == 2


def test_a_pruned_trial_is_taken_further_from_its_checkpoint_and_ends_as_if_it_had_not_been(
    swept: tuple[Path, str], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(swept[0], tmp_path / "copy"))
    pruned = [trial for trials in studies(swept[0]).values() for trial in trials if trial.state == TrialState.PRUNED]
    assert pruned, "one of six is behind the median"
    trial = record(folder, pruned[0].user_attrs["trial_id"])
    assert trial["status"] == "pruned"
    assert "of its budget: its study has better ones" in trial["failure"]["message"]
    rate, objective = trial["options"]["optimizer.learning_rate"], trial["options"]["objective"]
    cell = [f"optimizer.learning_rate={rate}", f"objective={objective}", "seed=0", *SMALL]
    further = ablate(folder, *cell)
    assert further.returncode == 0, further.stdout + further.stderr
    found = record(folder, trial["trial_id"])
    assert found["status"] == "finished"
    assert found["attempts"][-1]["from_step"] > 0, "never from zero"
    anew = ablate(folder, *cell, "runs_dir=anew")
    assert anew.returncode == 0, anew.stderr
    other = json.loads((folder / "anew" / trial["trial_id"] / "record.json").read_text())
    assert other["attempts"][0]["from_step"] == 0
    assert found["evaluations"] == other["evaluations"]


def test_what_a_grid_has_finished_costs_a_sweep_nothing(swept: tuple[Path, str], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(swept[0] / "text", tmp_path / "free" / "text")).parent
    grid = ablate(folder, "-m", "optimizer.learning_rate=1e-3,1e-2", "seed=0", *SMALL)
    assert grid.returncode == 0, grid.stderr
    space = "{optimizer.learning_rate: {choices: [1e-3, 1e-2]}}"
    sweep = ["-m", f"+hydra.sweeper.space={space}", "hydra.sweeper.sampler=grid", "hydra.sweeper.n_trials=9"]
    done = ablate(folder, *sweep, "replicates=1", "hydra.sweeper.pruner=hyperband", *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    [trials] = studies(folder).values()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2, "a grid has an end"
    assert all(len(trial.intermediate_values) == 4 for trial in trials), "pruners know its curve"
    assert all("completed_rung_0" in trial.system_attrs for trial in trials), "and count it among its rivals"
    assert sorted(attempts(folder).values()) == [1, 1, 1], "two of the grid, and the best under a fresh seed"


@pytest.mark.parametrize("kills", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_sweep_that_is_killed_goes_on_where_it_was(swept: tuple[Path, str], tmp_path: Path, kills: int) -> None:
    folder = Path(shutil.copytree(swept[0] / "text", tmp_path / "killed" / "text")).parent
    for kill in range(kills):
        process = subprocess.Popen(
            command(folder, *SHORT_SWEEP), cwd=folder, start_new_session=True, stdout=subprocess.DEVNULL
        )
        _wait_for_trials(folder, at_least=2 * kill + 1)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = ablate(folder, *SHORT_SWEEP)
    assert done.returncode == 0, done.stdout + done.stderr
    for trials in studies(folder).values():
        assert len(trials) == 2, "no candidate is lost, and none is made twice"
        assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    there, here = studies(swept[0]), studies(folder)
    # A study's first candidate depends on no results, and nothing prunes it.
    assert here["causal"][0].params == there["causal"][0].params
    assert here["causal"][0].values == there["causal"][0].values


def _wait_for_trials(folder: Path, *, at_least: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if len(list((folder / "runs").glob("*/metrics.jsonl"))) >= at_least:
            return
        time.sleep(0.1)
    raise AssertionError("no trial began")


def test_two_commands_share_a_sweep(swept: tuple[Path, str], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(swept[0] / "text", tmp_path / "shared" / "text")).parent
    words = [*SHORT_SWEEP, f"hydra.sweeper.storage=sqlite:///{folder}/studies.db"]
    both = [fork(folder, *with_tiny(folder, *words)) for _ in range(2)]
    done = [each.wait() for each in both]
    assert [each.returncode for each in done] == [0, 0], done
    for trials in studies(folder).values():
        assert len(trials) == 2
        assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert set(attempts(folder).values()) == {1}, "nothing is run twice"
    assert not list((folder / "runs" / "tunings" / "owners").iterdir()), "who ran it is gone"


def test_several_metrics_end_in_a_front_and_no_lesson(swept: tuple[Path, str], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(swept[0] / "text", tmp_path / "front" / "text")).parent
    words = [
        *("-m", "+hydra.sweeper.space={block.mlp_ratio: {low: 1, high: 4}}", "hydra.sweeper.sampler=random"),
        *("hydra.sweeper.n_trials=3", "hydra.sweeper.metrics=[bpb_full,flops]", *SMALL),
    ]
    done = ablate(folder, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tuned, on the validation split: the Pareto fronts" in done.stdout
    assert not list((folder / "runs" / "grids").glob("*.json"))
    reported = ablate(folder, "lessons", *words)
    assert reported.returncode == 2
    assert "there is no single best trial and no lesson" in reported.stderr
    assert "0 lessons, 1 tuning" in paged(folder)


WRONG = [
    (
        ["+hydra.sweeper.space={optimizer.learning_rat: {low: 1e-4, high: 1e-2}}"],
        "Did you mean optimizer.learning_rate?",
    ),
    (["optimizer.learning_rate=interval(1e-2,1e-4)"], "low=0.01 must be below high=0.0001."),
    (["optimizer.learning_rate=tag(log,interval(0.0,1e-4))"], "log: true needs low above 0, and it is 0."),
    (["optimizer.learning_rate=interval(-1.0,1.0)"], "optimizer.learning_rate=-1, which hydra.sweeper.space allows:"),
    ([RATE, "hydra.sweeper.metrics=[bpb_full,flops]", "hydra.sweeper.pruner=hyperband"], "prunes by one metric"),
    ([RATE, "hydra.sweeper.samper=gp"], "hydra.sweeper.samper: unknown key. Did you mean hydra.sweeper.sampler?"),
    ([RATE, "seed=0,1"], "seed=0: 0 is used for tuning"),
    ([RATE, "seed=2,3", "hydra.sweeper.tune_replicates=3"], "seed=2: 2 is used for tuning"),
    (
        [RATE, "replicates=4", "hydra.sweeper.tune_replicates=3"],
        "each of the lesson's seeds has a tuning of its own, and this command looks at 4 seeds.",
    ),
    (["sweeps=learning_rate", "optimizer.learning_rate=1e-3"], "nothing is left to tune"),
    (["sweeps=learning_rat"], "sweeps=learning_rat: no such choice. Did you mean learning_rate?"),
    ([RATE, "lesson.baseline=prefix"], "no arm has this label"),
    (["hardware.threads_per_trial=interval(1,2)"], "hardware.threads_per_trial: changes no trial"),
    (
        ["evaluation.suites.bits_per_byte.passage_bytes=int(interval(80,90))"],
        "changes what is scored, so its points can't be compared.",
    ),
    (
        ["schedule.decay_tokens=interval(800,900)", "lesson.primary_metric=infill_bpb_both"],
        "is scored by the suite infill; evaluation names only bits_per_byte",
    ),
]


@pytest.mark.parametrize(("words", "message"), WRONG)
def test_an_invalid_tuning_is_rejected_before_the_first_trial(
    words: list[str], message: str, swept: tuple[Path, str], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(swept[0] / "text", tmp_path / "wrong" / "text")).parent
    done = ablate(folder, "-m", *words, *SMALL)
    assert message in done.stderr
    assert done.returncode == 2
    assert done.stderr.startswith("ablate: ")
    assert not list(folder.rglob("record.json")), "nothing was started"


def test_a_storage_that_cannot_be_opened_is_a_failure_before_the_first_trial(
    swept: tuple[Path, str], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(swept[0] / "text", tmp_path / "storage" / "text")).parent
    done = ablate(folder, "-m", RATE, "hydra.sweeper.storage=sqlite:////nowhere/at/all.db", *SMALL)
    assert "unable to open database file" in done.stderr
    assert done.returncode == 1, "the command is right; the machine is not"
    assert done.stderr.startswith("ablate: ")
    assert not list(folder.rglob("record.json")), "nothing was started"


def test_another_space_under_a_name_and_a_locked_storage_are_told(
    swept: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(swept[0] / "text", tmp_path / "named" / "text")).parent
    url = f"sqlite:///{folder}/studies.db"
    named = ["hydra.sweeper.study=mine", f"hydra.sweeper.storage={url}", "hydra.sweeper.n_trials=1", "replicates=1"]
    assert ablate(folder, "-m", RATE, *named, *SMALL).returncode == 0
    other = ablate(folder, "-m", RATE.replace("1e-1", "1e-2"), *named, *SMALL)
    assert other.returncode == 2
    assert "the study mine belongs to another tuning" in other.stderr
    assert "space.optimizer.learning_rate.high: 0.1 → 0.01" in other.stderr
    holding = sqlite3.connect(folder / "studies.db", isolation_level=None)
    holding.execute("BEGIN EXCLUSIVE")
    monkeypatch.setitem(storage.CONNECT, "sqlite", {"timeout": 1})
    try:
        locked = ablate(folder, "-m", RATE, *named, *SMALL)
    finally:
        holding.close()
    assert locked.returncode == 1
    assert "database is locked" in locked.stderr


def test_a_verb_that_takes_no_sweep_says_so(swept: tuple[Path, str]) -> None:
    done = ablate(swept[0], "data", "show", RATE)
    assert done.returncode == 2
    assert "data takes no tuning. Leave sweeps= out" in done.stderr


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "sweeps").glob("*.yaml")))
def test_every_space_is_possible_for_the_arms_that_its_header_names(name: str, tmp_path: Path) -> None:
    [typed] = [
        line.partition("python -m ablate ")[2].split()
        for line in (CONF / "sweeps" / f"{name}.yaml").read_text().splitlines()
        if "python -m ablate " in line
    ]
    done = run_in_process(tmp_path, "status", *typed, "--json")
    assert json.loads(done.stdout)["trials"] == [], done.stderr
