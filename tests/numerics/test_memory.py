"""The memory that a trial is said to need, against passes that allocate it."""

import gc
from collections.abc import Iterator

import pytest
import torch
from torch.distributed._tools.mem_tracker import MemTracker

from ablate.config.trial import TrialConfig
from ablate.data.batches.batch import full_batch
from ablate.model import memory
from ablate.model.activations import _bytes
from ablate.model.build import build_model
from ablate.model.memory import TrainingMemory, training_memory
from ablate.model.shape_cache import forget
from tests.support.trials import MakeTrial

SHAPE = [
    "scale.n_layers=5",
    "scale.d_model=64",
    "scale.n_heads=4",
    "scale.context_tokens=128",
    "scale.window_tokens=99",
]


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    forget()
    yield
    forget()


def allocated(trial: TrialConfig, rows: int, *, micro_batches: int) -> int:
    """The peak of real steps of micro-batches, fp32, with AdamW's moments in place."""
    model = build_model(trial, trial.tokenizer.vocab_size)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    batch = full_batch(trial, rows, trial.scale.context_tokens)
    tracker = MemTracker()
    tracker.track_external(model)
    narrow = torch.autocast("cpu", torch.bfloat16, enabled=trial.precision == "bf16", cache_enabled=False)
    for step in range(2):
        if step == 1:
            tracker.track_external(optimizer)
            tracker.__enter__()
        for _ in range(micro_batches):
            with narrow:
                torch.autograd.backward(model.loss(batch))
            tracker.reset_mod_stats()
        optimizer.step()
        optimizer.zero_grad()
    tracker.__exit__(None, None, None)
    gc.collect()
    return _bytes(tracker, "peak")


@pytest.mark.parametrize(
    ("overrides", "rows", "micro_batches"),
    [
        ([], 3, 1),
        (["scale.activation_checkpointing=selective"], 3, 1),
        (["scale.activation_checkpointing=full"], 3, 2),
        (["block=llama", "precision=bf16"], 4, 1),
        (["architecture=encoder_decoder", "objective=prefix"], 3, 1),
    ],
)
def test_the_arithmetic_is_what_a_step_allocates(
    make_trial: MakeTrial, overrides: list[str], rows: int, micro_batches: int
) -> None:
    total = rows * micro_batches
    trial = make_trial(*SHAPE, *overrides, f"budget.rows_per_step={total}", f"hardware.micro_batch_rows={rows}")
    told = training_memory(trial, devices=1, strategy="single")
    found = allocated(trial, rows, micro_batches=micro_batches)
    assert told.total - told.overhead == pytest.approx(found, rel=0.1)


def of_1b(
    make_trial: MakeTrial, *overrides: str, devices: int = 1, strategy: memory.StrategyName = "single"
) -> TrainingMemory:
    trial = make_trial(
        "scale=1b",
        "scale.n_layers=16",
        "scale.d_model=2048",
        "scale.n_heads=16",
        "scale.context_tokens=2048",
        "tokenizer.vocab_size=51200",
        "precision=bf16",
        "hardware=gpu",
        "budget.rows_per_step=8",
        *overrides,
    )
    return training_memory(trial, devices=devices, strategy=strategy)


def test_checkpointing_at_1b_saves_activations_only(make_trial: MakeTrial) -> None:
    whole = of_1b(make_trial)
    parameters = 1_015_306_240
    assert (whole.weights, whole.optimizer, whole.gathered) == (4 * parameters, 8 * parameters, 0)
    kept = of_1b(make_trial, "scale.activation_checkpointing=none")
    half = of_1b(make_trial, "scale.activation_checkpointing=selective")
    assert whole.activations < 0.3 * half.activations < 0.3 * kept.activations


def test_sharding_divides_what_is_sharded_and_nothing_else(make_trial: MakeTrial) -> None:
    single = of_1b(make_trial)
    sharded = of_1b(make_trial, "budget.rows_per_step=64", devices=8, strategy="fsdp")
    copied = of_1b(make_trial, "budget.rows_per_step=64", devices=8, strategy="ddp")
    for name in ("weights", "gradients", "optimizer"):
        assert getattr(sharded, name) == -(-getattr(single, name) // 8)
        assert getattr(copied, name) == getattr(single, name)
    assert sharded.gathered > 2 * 2 * 51200 * 2048
    in_parts = of_1b(make_trial, "budget.rows_per_step=64", "hardware.micro_batch_rows=2", devices=8, strategy="fsdp")
    assert in_parts.gradients == single.gradients, "reduced once a step, so whole until then"
    assert in_parts.activations < sharded.activations
