"""A trial that is ended and goes on is the trial that was not: asked to end, out of disk, torn, diverged."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ablate.errors import LedgerError
from ablate.model.decoder import Decoder
from ablate.records.checkpoints import Checkpoints
from ablate.records.ledger import TrialFolder
from ablate.records.metrics import MetricsWriter, read_metrics
from ablate.training import checkpointing
from ablate.training.checkpointing import Checkpointing, CheckpointSchedule
from ablate.training.divergence import DivergedError
from ablate.training.module import TrialModule
from ablate.training.preemption import PreemptedError, Preemption
from tests.support.training import train, trained, without_speed
from tests.support.trials import MakeTrial

OVERRIDES = ("objective=mixed", "hardware.micro_batch_rows=2", "budget.train_tokens=3200", "checkpoint.every_steps=3")


@pytest.fixture(scope="module")
def trial(make_trial: MakeTrial) -> Any:
    return make_trial(*OVERRIDES)


@pytest.fixture(scope="module")
def expected(trial: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Weights and log rows of the trial without an interruption."""
    weights, rows, _ = trained(trial, tmp_path_factory.mktemp("uninterrupted") / "trial")
    return weights, rows


def resume(trial: Any, folder: TrialFolder) -> None:
    with Preemption().caught() as preemption:
        train(trial, folder, preemption)


def check_equal(folder: TrialFolder, expected: tuple[Any, Any]) -> None:
    weights = torch.load(folder.model_path, weights_only=True)
    assert without_speed(read_metrics(folder.metrics_path)) == expected[1]
    assert all(torch.equal(weights[name], expected[0][name]) for name in expected[0])


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], None]) -> None:
    """Acts once, in the middle of a step."""
    loss = Decoder.loss
    training_step = TrialModule.training_step
    steps: list[int] = []
    done: list[int] = []

    def watched_step(module: TrialModule, *arguments: Any) -> None:
        steps.append(module.counters.steps + 1)
        training_step(module, *arguments)

    def watched_loss(model: Decoder, batch: Any) -> torch.Tensor:
        if steps[-1] == step and not done:
            done.append(step)
            act()
        return loss(model, batch)

    monkeypatch.setattr(TrialModule, "training_step", watched_step)
    monkeypatch.setattr(Decoder, "loss", watched_loss)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_asked_to_end_it_saves_at_the_step_s_boundary_and_goes_on(
    trial: Any, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    folder = TrialFolder(tmp_path / "0123456789ab")
    at_step(monkeypatch, 8, lambda: os.kill(os.getpid(), number))
    with pytest.raises(PreemptedError, match=f"stopped by {number.name}"):
        resume(trial, folder)
    assert folder.checkpoints.newest_step == 8
    assert not folder.model_path.exists()
    resume(trial, folder)
    check_equal(folder, expected)
    assert folder.record().attempts[-1].from_step == 8
    assert not folder.checkpoints.folder.exists()


def test_asked_to_end_while_lightning_sets_up_it_ends_as_if_it_trained(
    trial: Any, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning has its handlers then, and ends by an exit of its own."""
    folder = TrialFolder(tmp_path / "0123456789ab")
    start = Checkpointing.on_train_start

    def asked(callback: Checkpointing, *arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        start(callback, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpointing, "on_train_start", asked)
        with pytest.raises(PreemptedError, match="stopped by SIGTERM"):
            resume(trial, folder)
    resume(trial, folder)
    check_equal(folder, expected)


def test_asked_to_end_in_the_last_step_it_is_trained(
    trial: Any, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = TrialFolder(tmp_path / "0123456789ab")
    at_step(monkeypatch, 20, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(PreemptedError):
        resume(trial, folder)
    assert folder.model_path.exists()
    resume(trial, folder)
    check_equal(folder, expected)


def test_a_signal_outside_of_the_training_ends_it_at_once() -> None:
    with pytest.raises(PreemptedError), Preemption().caught():
        os.kill(os.getpid(), signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def interrupted(trial: Any, folder: TrialFolder, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    def fail() -> None:
        raise RuntimeError("as when memory is out")

    with monkeypatch.context() as patch:
        at_step(patch, step, fail)
        with pytest.raises(RuntimeError, match="as when memory is out"):
            resume(trial, folder)


def test_a_torn_newest_checkpoint_costs_the_steps_since_the_one_before(
    trial: Any, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = TrialFolder(tmp_path / "0123456789ab")
    interrupted(trial, folder, monkeypatch, 14)
    newest, before = folder.checkpoints.paths()
    assert [path.name[-2:] for path in (newest, before)] == ["12", "09"]
    state = (newest / "__0_0.distcp").read_bytes()
    (newest / "__0_0.distcp").write_bytes(state[:-100] + bytes(100))
    resume(trial, folder)
    check_equal(folder, expected)
    assert folder.record().attempts[-1].from_step == 9


def test_where_no_snapshot_fits_training_waits_and_says_so(
    trial: Any, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(checkpointing, "available_bytes", lambda: 1000)
    folder = TrialFolder(tmp_path / "0123456789ab")
    interrupted(trial, folder, monkeypatch, 11)
    assert caplog.text.count("Training waits while checkpoints are written") == 1
    resume(trial, folder)
    check_equal(folder, expected)


def test_a_full_disk_in_a_save_costs_no_step(
    trial: Any, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = TrialFolder(tmp_path / "0123456789ab")
    write = Checkpoints.write
    calls: list[int] = []

    def full_at_first(store: Checkpoints, step: int, *arguments: Any, **named: Any) -> Path:
        calls.append(step)
        if step < 7:
            raise OSError(28, "No space left on device")
        return write(store, step, *arguments, **named)

    monkeypatch.setattr(Checkpoints, "write", full_at_first)
    interrupted(trial, folder, monkeypatch, 11)
    assert calls == [3, 6, 9]
    assert caplog.text.count("No checkpoint could be written ([Errno 28] No space left on device)") == 2
    resume(trial, folder)
    check_equal(folder, expected)


def test_a_full_disk_in_a_line_of_the_log_ends_it_with_a_word_and_loses_nothing(
    trial: Any, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = TrialFolder(tmp_path / "0123456789ab")
    append = MetricsWriter.append

    def half(writer: MetricsWriter, step: int, values: Any) -> None:
        if step < 12:
            return append(writer, step, values)
        writer._file.write(b'{"step": 12, "prog')
        writer.close()
        with Path("/dev/full").open("wb", buffering=0) as full:
            writer._file = full
            return append(writer, step, values)

    with monkeypatch.context() as patch:
        patch.setattr(MetricsWriter, "append", half)
        with pytest.raises(LedgerError, match=r"cannot write the log \(No space left on device\)"):
            resume(trial, folder)
    assert folder.metrics_path.read_text().endswith('"prog')
    resume(trial, folder)
    check_equal(folder, expected)


def test_a_log_that_somebody_shortened_is_told(trial: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = TrialFolder(tmp_path / "0123456789ab")
    interrupted(trial, folder, monkeypatch, 8)
    folder.metrics_path.write_text("")
    with pytest.raises(LedgerError, match="its checkpoint was written after"):
        resume(trial, folder)


def test_a_diverged_trial_keeps_its_evidence(make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = make_trial(
        *OVERRIDES, "optimizer.learning_rate=30", "optimizer.clip_norm=0", "divergence.window_steps=3", "tracking=none"
    )
    folder = TrialFolder(tmp_path / "0123456789ab")
    with pytest.raises(DivergedError, match="the loss rose") as caught:
        resume(trial, folder)
    steps = len(caught.value.evidence["last_losses"])
    assert steps == 3
    rows = read_metrics(folder.metrics_path)
    assert rows[-1]["step"] == folder.checkpoints.newest_step, "the log goes up to the state that is kept"
    assert rows[-1]["train/loss"] > rows[0]["train/loss"]


def test_by_the_clock_saving_takes_at_most_its_share_of_the_time(make_trial: MakeTrial) -> None:
    config = make_trial("checkpoint.every_seconds=1", "checkpoint.max_time_fraction=0.25").checkpoint
    timetable = CheckpointSchedule(config, now_seconds=0.0)
    now, waited = 0.0, 0.0
    while now < 100:
        now += 0.1
        if timetable.is_due(1, now):
            timetable.saved(now, now + 2.0)
            now += 2.0
            waited += 2.0
    assert 0.15 < waited / now <= 0.25


def test_by_steps_every_one_of_them_is_saved(make_trial: MakeTrial) -> None:
    timetable = CheckpointSchedule(make_trial("checkpoint.every_steps=3").checkpoint, now_seconds=0.0)
    assert [step for step in range(1, 10) if timetable.is_due(step, 1e9)] == [3, 6, 9]
