"""One trial over several devices: equal to one device, resumed at any number, and ended together."""

import os
import random
import signal
import time
from itertools import product
from pathlib import Path

import pytest
import torch

from ablate.config.trial import TrialConfig
from ablate.records.ledger import TrialFolder
from ablate.records.metrics import read_metrics
from ablate.records.trial import Status
from ablate.scheduling.processes import start_process, start_server
from ablate.scheduling.reconcile import died
from tests.integration.kill_matrix import RANK_SCENARIOS, Matrix
from tests.support.command_line import wait_for
from tests.support.ranks import freeze, losses, on, processes_of, run, run_until, sums, weights
from tests.support.trials import MakeTrial

# 5 rows, which neither 2 nor 4 ranks divide; 50 steps.
STEPS = 50
LONG = (
    "objective=mixed",
    "budget.rows_per_step=5",
    f"budget.train_tokens={STEPS * 5 * 40}",
    "tracking.log_every_steps=1",
    "evaluation.val_evaluations=1",
    "checkpoint.every_seconds=3600",
)
SHORT = (*LONG[:2], "budget.train_tokens=2000", *LONG[3:])


def check_equal(folder: TrialFolder, expected: TrialFolder) -> None:
    """Same rows, counters and end; losses, weights and scores up to the order of sums."""
    assert sums(folder) == sums(expected)
    assert losses(folder) == pytest.approx(losses(expected), rel=1e-6)
    ours, theirs = weights(folder), weights(expected)
    assert [(name, ours[name].dtype, ours[name].shape) for name in ours] == [
        (name, theirs[name].dtype, theirs[name].shape) for name in theirs
    ]
    # Adam divides by a gradient's size, so where one is close to 0 rounding moves a weight by up to its step.
    difference = torch.cat([(ours[name] - theirs[name]).abs().flatten() for name in ours])
    assert (difference > 1e-5).float().mean() < 1e-3
    record, other_record = folder.record(), expected.record()
    assert record.evaluations.keys() == other_record.evaluations.keys()
    for suite, scores in other_record.evaluations.items():
        assert record.evaluations[suite] == pytest.approx(scores, rel=1e-5)


@pytest.fixture(scope="module")
def short(make_trial: MakeTrial, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrialConfig, TrialFolder]:
    """A trial of 10 steps, and what it comes to on one device."""
    trial = make_trial(*SHORT)
    return trial, run(trial, tmp_path_factory.mktemp("one") / "runs")


@pytest.mark.parametrize(("devices", "strategy", "micro"), [(2, "ddp", 1), (2, "fsdp", 1)])
def test_two_devices_train_what_one_trains(
    short: tuple[TrialConfig, TrialFolder], tmp_path: Path, devices: int, strategy: str, micro: int
) -> None:
    trial, expected = short
    folder = run(on(trial, devices, strategy, micro_batch_rows=micro), tmp_path / "runs")
    check_equal(folder, expected)
    attempt = folder.record().attempts[-1]
    assert (attempt.ranks, attempt.strategy) == (devices, strategy)
    assert not list(folder.path.glob("lease.*"))
    assert not folder.checkpoints.folder.exists()


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_muon_trains_alike_on_two_devices(make_trial: MakeTrial, tmp_path: Path, strategy: str) -> None:
    trial = make_trial(*SHORT, "optimizer=muon")
    expected, folder = run(trial, tmp_path / "one"), run(on(trial, 2, strategy), tmp_path / "two")
    assert sums(folder) == sums(expected)
    # Its orthogonalisation multiplies in bf16.
    assert losses(folder) == pytest.approx(losses(expected), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("matched_on", ["train_tokens", "loss_tokens", "flops"])
def test_any_number_of_devices_trains_what_one_trains(make_trial: MakeTrial, tmp_path: Path, matched_on: str) -> None:
    trial = make_trial(*LONG, f"budget.matched_on={matched_on}")
    expected = run(trial, tmp_path / "one")
    cases = [*product((2, 4), ("ddp", "fsdp"), (None, 1)), (1, "ddp", None), (1, "fsdp", 2)]
    for number, (devices, strategy, micro) in enumerate(cases):
        folder = run(on(trial, devices, strategy, micro_batch_rows=micro), tmp_path / str(number))
        check_equal(folder, expected)


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["architecture=encoder_decoder", "block=llama", "precision=bf16"])
def test_other_models_train_on_two_devices_what_they_train_on_one(
    make_trial: MakeTrial, tmp_path: Path, arm: str
) -> None:
    trial = make_trial(*SHORT, arm)
    expected = run(trial, tmp_path / "one")
    for strategy in ("ddp", "fsdp"):
        folder = run(on(trial, 2, strategy, micro_batch_rows=1), tmp_path / strategy)
        assert sums(folder) == sums(expected)
        assert losses(folder) == pytest.approx(losses(expected), rel=2e-3 if arm == "precision=bf16" else 1e-6)


def test_a_trial_stopped_on_two_devices_ends_on_one(short: tuple[TrialConfig, TrialFolder], tmp_path: Path) -> None:
    trial, expected = short
    folder = run_until(on(trial, 2, "fsdp"), tmp_path / "runs", step=2)
    step = folder.checkpoints.newest_step
    assert step is not None
    run(on(trial, 1, "auto"), tmp_path / "runs")
    attempts = folder.record().attempts
    assert [(attempt.ranks, attempt.from_step) for attempt in attempts] == [(2, 0), (1, step)]
    check_equal(folder, expected)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_trial_saved_on_two_devices_goes_on_at_any_number(
    make_trial: MakeTrial, tmp_path: Path, strategy: str
) -> None:
    import shutil

    trial = make_trial(*LONG)
    expected = run(trial, tmp_path / "one")
    saved = run_until(on(trial, 2, strategy), tmp_path / "saved", step=STEPS // 2)
    for devices, other in ((1, "single"), (3, "ddp"), (4, "fsdp"), (2, "ddp"), (2, "fsdp")):
        runs_dir = tmp_path / f"{devices} {other}"
        shutil.copytree(saved.path, runs_dir / saved.trial_id)
        check_equal(run(on(trial, devices, other), runs_dir), expected)


def test_a_killed_rank_ends_the_others_and_the_trial_within_seconds(make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = on(make_trial("budget.train_tokens=400000", "tracking.log_every_steps=1"), 2, "ddp")
    folder, job = freeze(trial, tmp_path / "runs")
    start_server()
    supervisor = start_process("ablate.scheduling.supervisor:run_job", job, output=folder.log_path)
    wait_for(lambda: len(read_metrics(folder.metrics_path)) > 2)
    first, second = processes_of(supervisor)[:2]
    os.kill(second, signal.SIGKILL)
    supervisor.join(30)
    assert supervisor.exitcode == 1
    record = folder.record()
    assert record.status == Status.FAILED
    assert record.failure is not None
    assert record.failure.message == f"rank 1 of 2: {died(-signal.SIGKILL)}"
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


def test_a_signal_to_one_rank_stops_all_at_one_step_after_a_save(make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = on(make_trial("budget.train_tokens=400000", "tracking.log_every_steps=1"), 2, "fsdp")
    folder, job = freeze(trial, tmp_path / "runs")
    start_server()
    supervisor = start_process("ablate.scheduling.supervisor:run_job", job, output=folder.log_path)
    wait_for(lambda: len(read_metrics(folder.metrics_path)) > 2)
    os.kill(processes_of(supervisor)[1], signal.SIGTERM)
    supervisor.join(60)
    record = folder.record()
    assert (record.status, record.failure) == (Status.PENDING, None), folder.log_path.read_text()
    assert folder.checkpoints.newest_step == read_metrics(folder.metrics_path)[-1]["step"]


def test_an_error_on_one_rank_is_the_trial_s_failure_with_its_traceback(make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = on(make_trial("budget.train_tokens=4000"), 2, "ddp")
    folder, job = freeze(trial, tmp_path / "runs")
    start_server()
    process = start_process("tests.integration.test_ranks:supervise_a_failing_rank", job, output=folder.log_path)
    process.join(120)
    record = folder.record()
    assert record.status == Status.FAILED
    assert record.failure is not None
    assert record.failure.message == "rank 1 of 2: ValueError: as when one device is broken"
    assert "in broken_step" in record.failure.traceback


def supervise_a_failing_rank(job: object) -> None:
    """Run in the supervisor's process: rank 1 fails in its third step."""
    from ablate.scheduling import supervisor, workers

    def start(function: str, *arguments: object, output: Path | None) -> object:
        return start_process("tests.integration.test_ranks:work_with_a_failing_rank", *arguments, output=output)

    setattr(workers, "start_process", start)  # noqa: B010
    supervisor.run_job(job)  # type: ignore[arg-type]


def work_with_a_failing_rank(assignment: object, connection: object) -> None:
    """Run in a worker's process."""
    from ablate.training.module import TrialModule
    from ablate.training.worker import run_worker

    step = TrialModule.training_step

    def broken_step(module: TrialModule, *arguments: object) -> None:
        if module.counters.steps == 2 and module.ranks.rank.number == 1:
            raise ValueError("as when one device is broken")
        step(module, *arguments)  # type: ignore[arg-type]

    setattr(TrialModule, "training_step", broken_step)  # noqa: B010
    run_worker(assignment, connection)  # type: ignore[arg-type]


def test_a_diverged_trial_keeps_its_evidence_from_all_ranks_once(make_trial: MakeTrial, tmp_path: Path) -> None:
    diverging = ("optimizer.learning_rate=30", "optimizer.clip_norm=0", "divergence.window_steps=3")
    trial = on(make_trial("budget.train_tokens=3200", *diverging), 2, "fsdp")
    folder = run(trial, tmp_path / "runs", status=Status.DIVERGED)
    failure = folder.record().failure
    assert failure is not None
    assert "the loss rose" in failure.message
    assert len(failure.evidence["last_losses"]) == 3
    assert read_metrics(folder.metrics_path)[-1]["step"] == folder.checkpoints.newest_step


@pytest.mark.slow
def test_a_trial_of_which_any_rank_is_killed_ends_in_the_bits_of_one_that_was_not(tmp_path: Path) -> None:
    matrix = Matrix(tmp_path, random.Random(2), RANK_SCENARIOS)
    matrix.run(30)
    assert matrix.differences == []
    assert {"rank 0", "rank 1", "supervisor"} <= set(matrix.by_process)
    assert sum(times for place, times in matrix.kills.items() if "save" in place) >= 5


def test_nothing_of_a_trial_is_left_running(make_trial: MakeTrial, tmp_path: Path) -> None:
    """A supervisor that is killed takes all its ranks with it."""
    trial = on(make_trial("budget.train_tokens=400000", "tracking.log_every_steps=1"), 2, "fsdp")
    folder, job = freeze(trial, tmp_path / "runs")
    start_server()
    supervisor = start_process("ablate.scheduling.supervisor:run_job", job, output=folder.log_path)
    wait_for(lambda: len(read_metrics(folder.metrics_path)) > 2)
    ranks = processes_of(supervisor)
    assert len(ranks) >= 2
    supervisor.kill()
    supervisor.join()
    deadline = time.monotonic() + 20
    while any(_lives(rank) for rank in ranks):
        assert time.monotonic() < deadline, "a rank lives on"
        time.sleep(0.1)


def _lives(pid: int) -> bool:
    import psutil

    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
