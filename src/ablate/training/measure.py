"""Measure a trial's speed by real optimizer steps, without a corpus and without a ledger."""

import time
from collections.abc import Iterator
from dataclasses import replace

import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from ablate.config.trial import TrialConfig
from ablate.data.batches.batch import full_batch
from ablate.data.batches.compute_counts import compute_counts
from ablate.data.batches.train_batches import TrainBatch
from ablate.errors import UsageError
from ablate.model.build import build_model
from ablate.model.memory import training_memory
from ablate.training.memory import available_bytes
from ablate.training.module import TrialModule
from ablate.training.strategy import uses_gpu
from ablate.training.trainer import build_trainer

# The first steps allocate memory, and compile.
WARM_UP_STEPS, STEPS = 3, 20


class _Clock(pl.Callback):
    """Note the seconds of each step after the first ones, and end the training.

    Attributes:
        seconds: of a step, from the end of the one before.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._ended: list[float] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: TrainBatch, batch_idx: int
    ) -> None:
        """Note the time."""
        self._ended.append(time.perf_counter())
        if len(self._ended) > WARM_UP_STEPS:
            self.seconds.append(self._ended[-1] - self._ended[-2])
        if len(self.seconds) == STEPS:
            trainer.should_stop = True


class _SameBatch(IterableDataset[TrainBatch]):
    """One train batch, again and again."""

    def __init__(self, batch: TrainBatch) -> None:
        self.batch = batch

    def __iter__(self) -> Iterator[TrainBatch]:
        while True:
            yield self.batch


def step_seconds(trial: TrialConfig) -> list[float]:
    """Return the seconds of each of `STEPS` optimizer steps on this machine's device.

    The rows are full, one segment each, of random tokens. One device takes what is its part of a step: what several
    devices would spend on sending gradients to each other is not measured.

    Raises:
        UsageError: a step does not fit into the memory.
    """
    alone = _alone(trial)
    _check_memory(alone)
    before = torch.get_num_threads()
    torch.set_num_threads(alone.hardware.threads_per_trial)
    clock = _Clock()
    try:
        trainer = build_trainer(alone)
        trainer.callbacks.append(clock)  # type: ignore[attr-defined]
        module = TrialModule(alone, build_model(alone, alone.tokenizer.vocab_size), "", float("inf"))
        trainer.fit(module, DataLoader(_SameBatch(_train_batch(alone)), batch_size=None))
    finally:
        torch.set_num_threads(before)
    return clock.seconds


def _alone(trial: TrialConfig) -> TrialConfig:
    """Return a trial on one device, with that device's rows of a step."""
    rows = -(-trial.budget.rows_per_step // trial.hardware.ranks)
    return replace(
        trial,
        budget=replace(trial.budget, rows_per_step=rows),
        hardware=replace(trial.hardware, devices=1, nodes=1, strategy="auto"),
    )


def _check_memory(trial: TrialConfig) -> None:
    needed = training_memory(trial, devices=1, strategy="single").total
    room = torch.cuda.get_device_properties(0).total_memory if uses_gpu(trial) else available_bytes()
    if needed > room:
        raise UsageError(
            f"--measure: a step takes about {needed / 1e9:.1f} GB on one device, and {room / 1e9:.1f} GB are there. "
            "Take a smaller hardware.micro_batch_rows or scale.activation_checkpointing=full, or leave --measure out."
        )


def _train_batch(trial: TrialConfig) -> TrainBatch:
    rows, scale = trial.budget.rows_per_step, trial.scale
    # The longest row has `context_tokens`, which the memory is for; the mean row has hardly more than its train tokens.
    shape = (rows, scale.window_tokens)
    random = np.random.default_rng(0)
    tokens, targets = (random.integers(trial.tokenizer.vocab_size, size=shape, dtype=np.int32) for _ in range(2))
    batch = replace(full_batch(trial, rows, scale.window_tokens), input_ids_BT=tokens, targets_BT=targets)
    return TrainBatch(
        batch=batch,
        train_tokens=rows * scale.window_tokens,
        input_tokens=tokens.size,
        truncated_tokens=0,
        compute_counts=compute_counts(batch, trial.architecture),
        windows=(),
    )
