"""The memory that a trial is said to need, against passes that allocate it."""

import gc
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributed._tools.mem_tracker import MemTracker

from ablate.config.trial import TrialConfig
from ablate.data.batches.batch import Batch, full_batch
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


def with_prefixes(batch: Batch) -> Batch:
    """The batch with prefixes of different lengths: all of the first row, none of the second, a third of the others."""
    span_BT = np.zeros_like(batch.span_BT)
    span_BT[0] = 1
    span_BT[2:, : span_BT.shape[1] // 3] = 1
    return replace(batch, span_BT=span_BT)


def allocated(trial: TrialConfig, rows: int, length: int, *, micro_batches: int) -> int:
    """The peak of real steps of micro-batches, fp32, with AdamW's moments in place."""
    model = build_model(trial, trial.tokenizer.vocab_size)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    batch = with_prefixes(full_batch(trial, rows, length))
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
    ("overrides", "rows", "length", "micro_batches"),
    [
        ([], 3, 104, 1),
        (["scale.activation_checkpointing=selective"], 3, 104, 1),
        (["scale.activation_checkpointing=full"], 3, 104, 2),
        (["block=llama", "precision=bf16", "objective=mixed"], 4, 128, 1),
        (["architecture=encoder_decoder", "objective=prefix"], 5, 104, 1),
    ],
)
def test_the_arithmetic_is_what_a_step_allocates(
    make_trial: MakeTrial, overrides: list[str], rows: int, length: int, micro_batches: int
) -> None:
    total = rows * micro_batches
    trial = make_trial(*SHAPE, *overrides, f"budget.rows_per_step={total}", f"hardware.micro_batch_rows={rows}")
    told = training_memory(trial, devices=1, strategy="single")
    found = allocated(trial, rows, length, micro_batches=micro_batches)
    assert told.total - told.overhead == pytest.approx(found, rel=0.1)


def test_on_a_cpu_the_heap_of_small_models_counts_as_much_as_the_step_and_that_of_large_ones_a_constant(
    make_trial: MakeTrial,
) -> None:
    small = training_memory(make_trial(*SHAPE), devices=1, strategy="single")
    large = of_1b(make_trial, "hardware=cpu", "precision=fp32")
    assert small.overhead - memory.CPU_PROCESS_BYTES == small.total - small.overhead
    assert large.overhead - memory.CPU_PROCESS_BYTES == memory.CPU_HEAP_BYTES


def of_1b(
    make_trial: MakeTrial, *overrides: str, devices: int = 1, strategy: memory.StrategyName = "single"
) -> TrainingMemory:
    trial = make_trial(
        "scale=1b",
        "scale.n_layers=16",
        "scale.d_model=2048",
        "scale.n_heads=16",
        "scale.context_tokens=2048",
        "scale.window_tokens=1792",
        "budget.train_tokens=1M",
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
