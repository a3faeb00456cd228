"""`sync` uploads each trial as one run, tried on a server of our own that speaks W&B's protocol on loopback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ablate.config.parse import trial_to_container
from ablate.identity import semantic, trial_id
from ablate.records.grid import ArmRecord
from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.metrics import MetricsWriter
from ablate.records.schema import write
from ablate.records.trial import Counts, Status, TrainResult, TrialRecord
from ablate.records.wandb import upload as upload_module
from ablate.records.wandb.upload import Run, Upload
from ablate.records.wandb.writer import RunDescription
from ablate.scheduling.run_description import describe_run
from ablate.verbs import sync
from tests.support.forked import fork
from tests.support.in_process import run_in_process
from tests.support.ledgers import ledger_of, make_grid, with_changes
from tests.support.trials import MakeTrial
from tests.support.wandb_server import WandbServer, wandb_server

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(make_trial: MakeTrial, tmp_path: Path) -> TrialFolder:
    """A trial of a lesson, frozen in a ledger."""
    results, _ = make_grid(tmp_path, {"causal": 0.0, "mixed": 0.1}, name="my_lesson", question="Why?")
    trial = make_trial("objective=mixed", "mixture.stages=[{from_fraction: 0.5, weights: {code: 3, english: 1}}]")
    name, ledger = trial_id(trial), ledger_of(results)
    record = TrialRecord(
        name,
        options={"objective": "mixed", "optimizer.learning_rate": "0.001", "seed": "4"},
        choices={"objective": "mixed", "scale": "demo"},
        first_grid=results.grid_id,
        semantic=semantic(trial),
    )
    ledger.freeze(record, trial_to_container(trial))
    arms = (*results.all_arms, ArmRecord("mixed at 0.001", {}, {}, {"4": name}))
    write(ledger.grid_path(results.grid_id), with_changes(results, arms=arms).grid)
    return ledger.trial(name)


def log_steps(folder: TrialFolder, *steps: int) -> None:
    writer = MetricsWriter(
        folder.metrics_path, folder.metrics_path.stat().st_size if folder.metrics_path.exists() else 0
    )
    for step in steps:
        writer.append(step, {"train/loss": 4.0 / step, "data/windows": f"w{step}"})
    writer.close()


def finish(folder: TrialFolder) -> None:
    result = TrainResult(Counts(5, 1000), 1.5, 10, "data")
    folder.update(status=Status.FINISHED, result=result, evaluations={"suite": {"bpb_full": 2.125}})


def upload(folder: TrialFolder, server: WandbServer, *words: str) -> str:
    words = ("sync", *words, f"runs_dir={folder.path.parent}")
    done = fork(folder.path.parent, *words, environment=server.environment).wait()
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_interrupted_trial_is_one_run_with_each_step_once(folder: TrialFolder) -> None:
    log_steps(folder, 1, 2, 3)
    folder.update(status=Status.FAILED)
    with wandb_server() as server:
        assert "3 new steps" in upload(folder, server, folder.trial_id, "project=team/lessons")
        log_steps(folder, 4, 5)
        finish(folder)
        assert "2 new steps" in upload(folder, server, folder.trial_id, "project=team/lessons")
    [(run_id, run)] = server.runs.items()
    assert run_id == folder.trial_id
    assert [row["_step"] for row in run.history] == [1, 2, 3, 4, 5]
    assert [row["train/loss"] for row in run.history] == [4.0, 2.0, 4.0 / 3, 1.0, 0.8]
    assert run.history[-1]["test/bpb_full"] == 2.125
    assert run.fields["displayName"] == "mixed at 0.001, seed 4"
    assert run.fields["groupName"] == "my_lesson"
    assert run.fields["tags"] == ["objective=mixed", "optimizer.learning_rate=0.001"]
    assert (run.fields["entity"], run.fields["project"]) == ("team", "lessons")
    assert run.config["seed"] == "4"
    assert run.fields["notes"] == "Why?"
    assert run.summary["ablate/status"] == "finished"
    assert run.summary["test/bpb_full"] == 2.125


LIVE = """
import sys
from pathlib import Path
from ablate.records.wandb.writer import RunDescription, WandbWriter
place, *steps = sys.argv[1:]
writer = WandbWriter(
    mode="online", project="team/live", folder=Path(place), trial_id="a" * 12,
    description=RunDescription("causal, seed 0", "lesson", ("objective=causal",), {"arm": "causal"}),
)
for step in map(int, steps):
    writer.append(step, {"train/loss": 4.0 / step})
writer.conclude({"ablate/status": "finished"})
writer.close()
"""


def test_a_live_run_that_resumes_from_a_checkpoint_has_each_step_once(tmp_path: Path) -> None:
    with wandb_server() as server:
        for steps in ("123", "345"):
            command = [sys.executable, "-c", LIVE, str(tmp_path), *steps]
            subprocess.run(command, cwd=ROOT, env={**os.environ, **server.environment}, check=True, timeout=200)
    [run] = server.runs.values()
    assert [row["_step"] for row in run.history] == [1, 2, 3, 4, 5]
    assert run.fields["displayName"] == "causal, seed 0"
    assert not list(tmp_path.glob("wandb/offline-run-*"))


def test_a_run_is_named_grouped_and_described_by_its_arm(folder: TrialFolder, make_trial: MakeTrial) -> None:
    trial = make_trial("objective=mixed", "mixture.stages=[{from_fraction: 0.5, weights: {code: 3, english: 1}}]")
    description = describe_run(folder, trial)
    assert description.name == "mixed at 0.001, seed 4"
    config = description.config
    assert config["arm"] == "mixed at 0.001"
    assert config["lesson"] == "my_lesson"
    assert config["objective"]["tasks"]["causal"]["probability"] > 0
    assert config["mixture"]["stages"] == {"from 0.5": {"code": 3, "english": 1}}
    assert "hardware" not in config
    assert "sources" not in config["corpus"], "paths of this machine stay here"
    assert json.loads(config["ablate"]["semantic"]) == semantic(trial)
    folder.update(first_grid="f" * 12)
    candidate = describe_run(folder, trial)
    assert candidate.name == "objective=mixed optimizer.learning_rate=0.001, seed 4"
    assert candidate.group == "f" * 12
    tuning = Ledger(folder.path.parent).tuning_path("f" * 12)
    tuning.parent.mkdir()
    tuning.touch()
    assert describe_run(folder, trial).group == f"tuning {'f' * 12}"


def test_no_value_of_a_run_s_config_is_in_a_list_of_lists(make_trial: MakeTrial, folder: TrialFolder) -> None:
    def lists(value: object, key: str = "") -> list[str]:
        if isinstance(value, dict):
            return [found for name, inner in value.items() for found in lists(inner, f"{key}.{name}")]
        return [key] if isinstance(value, list) and any(isinstance(inner, list | dict) for inner in value) else []

    for overrides in (["objective=ul2_modes"], ["infill=psm", "infill.rate=0.5"]):
        assert lists(describe_run(folder, make_trial(*overrides)).config) == []


@pytest.mark.parametrize("status", [Status.PENDING, Status.SUBMITTED])
def test_a_trial_that_has_not_ended_is_skipped(
    folder: TrialFolder, monkeypatch: pytest.MonkeyPatch, status: Status
) -> None:
    monkeypatch.setattr(sync, "has_login", lambda: True)
    folder.update(status=status)
    done = run_in_process(folder.path.parent, "sync", folder.trial_id, "runs_dir=.")
    assert done.returncode == 0
    assert f"{folder.trial_id}: skipped, it is {status}; upload it when it has ended" in done.stdout
    assert "0 runs uploaded." in done.stdout


def test_a_trial_of_another_version_is_skipped(folder: TrialFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "has_login", lambda: True)
    finish(folder)
    folder.config_path.write_text(folder.config_path.read_text() + "a_new_key: 1\n")
    done = run_in_process(folder.path.parent, "sync", folder.trial_id, "runs_dir=.")
    assert done.returncode == 0
    assert f"{folder.trial_id}: skipped, this version of ablate cannot read its configuration (a_new_key" in done.stdout


def test_without_a_login_it_says_what_to_type(folder: TrialFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "has_login", lambda: False)
    done = run_in_process(folder.path.parent, "sync", "my_lesson", "runs_dir=.")
    assert done.returncode == 2
    assert "nobody is logged in to W&B here. Type `wandb login`" in done.stderr


def test_a_run_that_wandb_does_not_take_is_named(folder: TrialFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    log_steps(folder, 1)
    finish(folder)
    monkeypatch.setattr(sync, "has_login", lambda: True)
    monkeypatch.setattr(sync, "upload", lambda runs: [Upload(run, problem="no route") for run in runs])
    done = run_in_process(folder.path.parent, "sync", folder.trial_id, "runs_dir=.")
    assert done.returncode == 1
    assert f"{folder.trial_id}: mixed at 0.001, seed 4: not uploaded. no route" in done.stdout
    assert "0 runs uploaded, 1 not. Try again." in done.stdout


def test_nothing_more_is_tried_after_the_first_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    description = RunDescription("a run", None, (), {})
    runs = [Run(name * 12, "ablate", description, [], {}) for name in "abc"]
    tried = []

    def fail(run: Run) -> Upload:
        tried.append(run.trial_id[0])
        return Upload(run, problem=None if tried == ["a"] and is_reachable else "no route")

    monkeypatch.setattr(upload_module, "_upload", fail)
    is_reachable = False
    assert [ended.problem for ended in upload_module.upload(runs)] == ["no route"]
    assert tried == ["a"]
    tried.clear()
    is_reachable = True
    assert [ended.problem for ended in upload_module.upload(runs)] == [None, "no route", "no route"]
    assert list(upload_module.upload([])) == []
