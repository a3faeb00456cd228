"""One optimizer step, as a Lightning module.

A Lightning batch is a whole optimizer step, which the module splits into micro-batches. The loss is Σ w·nll / Σ w over
all of them and all ranks, so Σ w is counted before the first backward pass, and micro-batches may differ in size.
"""

from typing import Any

import lightning.pytorch as pl
import torch

from ablate.config.trial import TrialConfig
from ablate.data.batches.train_batches import TrainBatch, chained_digest
from ablate.model.build import Model
from ablate.model.flops import training_flops
from ablate.training.counters import Counters
from ablate.training.divergence import DivergenceDetector
from ablate.training.optimizer import adamw, learning_rate


class TrialModule(pl.LightningModule):
    """A model in training.

    Attributes:
        counters: totals so far.
        last_loss: the newest step's loss in nats per loss token.
        gradient_norm: the newest step's, before clipping.
        divergence: checks every step before it is applied.
    """

    def __init__(self, trial: TrialConfig, model: Model, data_fingerprint: str, target: float) -> None:
        """
        Args:
            trial: the trial.
            model: its model.
            data_fingerprint: start of the chained digest.
            target: value of the counter that the budget is matched on at which the trial stops.
        """
        super().__init__()
        self.automatic_optimization = False
        self.trial = trial
        self.model = model
        self.target = target
        self.counters = Counters(windows=data_fingerprint[:32])
        self.last_loss = self.gradient_norm = float("nan")
        self.divergence = DivergenceDetector(trial.divergence)
        if trial.compile:
            self.model.compile()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `adamw`."""
        return adamw(self.model, self.trial.optimizer)

    def transfer_batch_to_device(self, batch: TrainBatch, device: torch.device, dataloader_idx: int) -> TrainBatch:
        """Return the batch unchanged: `model.loss` moves one micro-batch at a time."""
        return batch

    def training_step(self, step: TrainBatch, batch_idx: int) -> None:
        """Take one optimizer step over all micro-batches.

        Raises:
            DivergedError: the run diverged; the weights are those before the step.
        """
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        after = self._counted(step)
        loss_tokens = after.loss_tokens - self.counters.loss_tokens
        for group in optimizer.param_groups:
            group["lr"] = self._learning_rate(after)
        optimizer.zero_grad()
        rows = len(step.batch.task_B)
        micro_rows = self.trial.hardware.micro_batch_rows or rows
        summed = torch.zeros((), device=self.device)
        for first in range(0, rows, micro_rows):
            # The strategy averages gradients over ranks; the loss is a sum over them.
            nll = self.model.loss(step.batch.rows(first, first + micro_rows))
            loss = nll * (self.trainer.world_size / max(1, loss_tokens))
            self.manual_backward(loss)
            summed += loss.detach()
        self.last_loss = self._over_ranks(float(summed)) / self.trainer.world_size
        limit = self.trial.optimizer.clip_norm or float("inf")
        self.gradient_norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit))
        self.divergence.see(after.steps, self.last_loss, self.gradient_norm)
        optimizer.step()
        self.counters = after
        if self.is_done:
            self.trainer.should_stop = True

    @property
    def is_done(self) -> bool:
        """Whether the budget is spent."""
        return self.counters.of_budget(self.trial.budget) >= self.target

    def _counted(self, step: TrainBatch) -> Counters:
        """Return the counters after a step."""
        before = self.counters
        input_tokens, loss_tokens = self._over_ranks(step.input_tokens), self._over_ranks(step.loss_tokens)
        return Counters(
            steps=before.steps + 1,
            train_tokens=before.train_tokens + int(self._over_ranks(step.train_tokens)),
            input_tokens=before.input_tokens + int(input_tokens),
            loss_tokens=before.loss_tokens + int(loss_tokens),
            truncated_tokens=before.truncated_tokens + int(self._over_ranks(step.truncated_tokens)),
            flops=before.flops + self._over_ranks(training_flops(self.model, **vars(step.compute_counts))),
            windows=chained_digest(before.windows, step.windows),
        )

    def _learning_rate(self, after: Counters) -> float:
        # A function of the spent budget, whatever counter it is matched on. It is taken at the middle of the step:
        # neither the first step of a warm-up nor the last of a decay to zero has a rate of 0.
        budget = self.trial.budget
        middle = (self.counters.of_budget(budget) + after.of_budget(budget)) / 2
        budget_tokens = budget.train_tokens * middle / self.target
        return learning_rate(self.trial.optimizer.learning_rate, self.trial.schedule, budget_tokens)

    def _over_ranks(self, value: float) -> float:
        """Sum a value over ranks."""
        if self.trainer.world_size == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        reduced: Any = self.trainer.strategy.reduce(tensor, reduce_op="sum")
        return float(reduced)
