"""A trial through Lightning: accumulation, budgets, schedule, divergence, and equal bits from equal runs."""

import math
from pathlib import Path

import pytest
import torch

from ablate.data.batches.train_batches import TrainBatches
from ablate.data.tokens.shards import Shards
from ablate.evaluation.suite import suite_ids
from ablate.identity import trial_id
from ablate.model.decoder import Decoder
from ablate.training.divergence import DivergedError
from ablate.training.loader import batch_loader
from ablate.training.module import TrialModule
from ablate.training.schedule import learning_rate
from ablate.training.trainer import build_trainer
from ablate.training.trial import budget_target
from tests.support.training import train, trained
from tests.support.trials import ARMS, MakeTrial


@pytest.mark.parametrize("arm", ["causal", "prefix", "mixed_prefix", "ul2_modes", "joint"])
def test_equal_trials_end_in_equal_bits(make_trial: MakeTrial, tmp_path: Path, arm: str) -> None:
    trial = make_trial(*ARMS[arm].split())
    first, first_rows, folder = trained(trial, tmp_path / "a")
    second, second_rows, _ = trained(trial, tmp_path / "b")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first_rows == second_rows
    assert [row["step"] for row in first_rows] == [1, 2, 3, 4, 5]
    # Nats per token asked: an untrained model knows nothing of 340 entries.
    assert first_rows[0]["train/loss"] == pytest.approx(math.log(340), rel=0.05)
    assert first_rows[-1]["train/loss"] < first_rows[0]["train/loss"]
    record = folder.record()
    assert record.is_scored(suite_ids(trial).values())
    assert set(record.scores(suite_ids(trial).values())) >= {
        "bpb_full",
        "bpb_continuation/code",
        "bpb_full_unigram",
        "infill_bpb_left",
    }
    assert record.result is not None
    assert record.result.counters.train_tokens == 800


def test_workers_change_nothing(make_trial: MakeTrial, tmp_path: Path) -> None:
    without, rows, _ = trained(make_trial(), tmp_path / "a")
    with_workers, worker_rows, _ = trained(make_trial("hardware.loader_workers=2"), tmp_path / "b")
    assert all(torch.equal(without[name], with_workers[name]) for name in without)
    assert rows == worker_rows


@pytest.mark.parametrize("arm", ARMS)
def test_accumulation_equals_the_large_batch(make_trial: MakeTrial, tmp_path: Path, arm: str) -> None:
    """Also at 8 rows a step: in one part, and row by row."""
    overrides = [*ARMS[arm].split(), "budget.rows_per_step=8", "budget.train_tokens=1600"]
    whole, rows, _ = trained(make_trial(*overrides, "hardware.micro_batch_rows=8"), tmp_path / "a")
    parts, part_rows, _ = trained(make_trial(*overrides, "hardware.micro_batch_rows=1"), tmp_path / "b")
    # Adam divides by a gradient's size, so where one is close to 0 rounding moves a weight by up to its step.
    difference = torch.cat([(whole[name] - parts[name]).abs().flatten() for name in whole])
    assert (difference > 2e-4).float().mean() < 1e-4
    logged = [pair for pair in zip(rows, part_rows, strict=True) if "train/loss" in pair[0]]
    assert [row["step"] for row, _ in logged] == [1, 2, 4, 5]
    for row, part_row in logged:
        assert row["train/loss"] == pytest.approx(part_row["train/loss"], rel=1e-4)
        assert row["train/gradient_norm"] == pytest.approx(part_row["train/gradient_norm"], rel=1e-3)


def test_micro_batches_of_3_rows_give_the_gradients_of_one_batch_of_4(make_trial: MakeTrial, shards: Shards) -> None:
    def gradients(*overrides: str) -> dict[str, torch.Tensor]:
        # One step of 4 rows of 40 tokens.
        trial = make_trial("objective=mixed", "optimizer.clip_norm=0", "budget.train_tokens=160", *overrides)
        module = TrialModule(trial, Decoder.from_config(trial, 340), shards.facts.fingerprint, 160)
        build_trainer(trial).fit(module, batch_loader(TrainBatches(trial, shards), first_step=0, workers=0))
        assert module.counters.steps == 1
        return {name: weight.grad for name, weight in module.model.named_parameters() if weight.grad is not None}

    whole, parts = gradients(), gradients("hardware.micro_batch_rows=3")
    assert whole.keys() == parts.keys()
    for name in whole:
        assert torch.allclose(whole[name], parts[name], rtol=1e-4, atol=1e-6), name


def test_a_trained_trial_is_scored_anew_without_a_step(make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = make_trial()
    _, _, folder = trained(trial, tmp_path / "a")
    weights, log = folder.model_path.read_bytes(), folder.metrics_path.read_bytes()
    files = {path: path.stat().st_mtime_ns for path in folder.path.glob("evaluations/*")}
    other = make_trial("evaluation.suites.bits_per_byte.passage_bytes=60")
    assert trial_id(other) == trial_id(trial)
    train(other, folder)
    assert set(folder.record().evaluations) == {*suite_ids(trial).values(), *suite_ids(other).values()}
    assert len(folder.record().evaluations) == 3, "infilling is not scored again"
    assert folder.evaluation_path(suite_ids(other)["bits_per_byte"]).exists()
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert (folder.model_path.read_bytes(), folder.metrics_path.read_bytes()) == (weights, log)


@pytest.mark.parametrize("matched_on", ["train_tokens", "loss_tokens", "flops"])
def test_budget_ends_the_trial_at_the_first_step_that_reaches_it(
    make_trial: MakeTrial, tmp_path: Path, matched_on: str
) -> None:
    trial = make_trial("objective=prefix", f"budget.matched_on={matched_on}")
    _, rows, folder = trained(trial, tmp_path / "a")
    target = budget_target(trial, Decoder.from_config(trial, trial.tokenizer.vocab_size))
    last = rows[-1][f"data/{matched_on}"]
    result = folder.record().result
    assert result is not None
    step = last / result.counters.steps
    assert target <= last < target + 2 * step
    if matched_on == "loss_tokens":
        assert result.counters.train_tokens > 800, "half of a prefix row has no loss"


def test_learning_rate_warms_up_and_falls(make_trial: MakeTrial) -> None:
    schedule = make_trial("schedule.warmup_fraction=0.25", "schedule.final_fraction=0.1").schedule
    rates = [learning_rate(1.0, schedule, tokens) for tokens in (100, 200, 500, 800, 900)]
    assert rates == pytest.approx([0.5, 1.0, 0.1 + 0.9 * 0.5, 0.1, 0.1])


def test_a_loss_that_is_not_finite_stops_the_trial_before_the_step(make_trial: MakeTrial, shards: Shards) -> None:
    trial = make_trial()
    model = Decoder.from_config(trial, trial.tokenizer.vocab_size)
    with torch.no_grad():
        model.blocks[0].mlp_in.weight[0, 0] = float("inf")  # type: ignore[union-attr, operator]
    before = model.head.weight.detach().clone()
    module = TrialModule(trial, model, shards.facts.fingerprint, 800)
    with pytest.raises(DivergedError, match="the loss is nan at step 1"):
        build_trainer(trial).fit(module, batch_loader(TrainBatches(trial, shards), first_step=0, workers=0))
    assert torch.equal(before, model.head.weight)
