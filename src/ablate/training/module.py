"""One optimizer step, as a Lightning module.

A Lightning batch is a rank's rows of a whole optimizer step, which the module splits into micro-batches. The loss is
Σ w·nll / Σ w over all rows of all ranks, so micro-batches and ranks may differ in size.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from ablate.config.trial import TrialConfig
from ablate.data.batches.batch import Batch
from ablate.data.batches.train_batches import TrainBatch, chained_digest
from ablate.model.build import Model
from ablate.model.flops import training_flops
from ablate.ranks import ALONE, Ranks
from ablate.training.counters import Counters
from ablate.training.divergence import DivergenceDetector
from ablate.training.optimizer import make_optimizer
from ablate.training.schedule import learning_rate
from ablate.training.sharding import whole


@dataclass(frozen=True)
class Flags:
    """What a rank asks of all ranks at the end of a step, and what they agree on.

    Attributes:
        stop: asked to stop: save and end.
        save: a checkpoint is due by the clock.
        is_writing: an earlier checkpoint is not on the disk yet.
    """

    stop: bool = False
    save: bool = False
    is_writing: bool = False


@dataclass(frozen=True)
class StepSums:
    """Sums over the ranks of what one step read and computed; one all-reduce carries all of them.

    Attributes:
        loss: Σ w·nll, times the factor that its gradient was scaled with.
        gradient_norm: Σ of the norms that the ranks know, which are equal.
        flags: how many ranks ask for each flag.
    """

    train_tokens: float
    input_tokens: float
    loss_tokens: float
    truncated_tokens: float
    flops: float
    stop: float
    save: float
    is_writing: float
    loss: float
    gradient_norm: float


class TrialModule(pl.LightningModule):
    """A model in training.

    Attributes:
        counters: totals so far.
        last_loss: the newest step's loss in nats per loss token.
        gradient_norm: the newest step's, before clipping.
        divergence: checks every step before it is applied.
        wishes: returns this rank's flags.
        agreed: the flags of all ranks after the newest step.
    """

    def __init__(
        self,
        trial: TrialConfig,
        model: Model,
        data_fingerprint: str,
        target: float,
        ranks: Ranks = ALONE,
    ) -> None:
        """
        Args:
            trial: the trial.
            model: its model.
            data_fingerprint: start of the chained digest.
            target: value of the counter that the budget is matched on at which the trial stops.
            ranks: the ranks that train it.
        """
        super().__init__()
        self.automatic_optimization = False
        self.trial = trial
        self.model = model
        self.target = target
        self.ranks = ranks
        self.counters = Counters(windows=data_fingerprint[:32])
        self.last_loss = self.gradient_norm = float("nan")
        self.divergence = DivergenceDetector(trial.divergence)
        self.wishes: Callable[[], Flags] = Flags
        self.agreed = Flags()
        if trial.compile:
            self.model.compile_blocks()

    def configure_model(self) -> None:
        """Do nothing: the model is sharded already. Lightning requires the method where a strategy shards."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `make_optimizer`."""
        return make_optimizer(self.model, self.trial.optimizer)

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
        optimizer.zero_grad()
        divisor = self._divisor(step)
        loss = self._backward(step.batch, self.ranks.rank.count / divisor)
        gradients = [weight.grad for weight in self.model.parameters() if weight.grad is not None]
        norm = whole(get_total_norm(gradients))
        sums = self._over_ranks(step, loss, norm)
        ranks, loss_tokens = self.ranks.rank.count, max(1.0, sums.loss_tokens)
        # 1 on one rank, where the divisor is the number of loss tokens.
        correction = divisor / loss_tokens
        self.last_loss = sums.loss / ranks * correction
        self.gradient_norm = sums.gradient_norm / ranks * correction
        after = self._counted(sums, step.windows)
        self.divergence.see(after.steps, self.last_loss, self.gradient_norm)
        if correction != 1:
            torch._foreach_mul_(gradients, correction)
        clip_grads_with_norm_(
            self.model.parameters(), self.trial.optimizer.clip_norm or float("inf"), norm * correction
        )
        for group in optimizer.param_groups:
            group["lr"] = group["rate_multiplier"] * self._learning_rate(after)
        optimizer.step()
        self.counters = after
        self.agreed = Flags(sums.stop > 0, sums.save > 0, sums.is_writing > 0)
        if self.is_done:
            self.trainer.should_stop = True

    @property
    def is_done(self) -> bool:
        """Whether the budget is spent."""
        return self.counters.of_budget(self.trial.budget) >= self.target

    def _divisor(self, step: TrainBatch) -> float:
        """Return what each rank divides its sums by before the backward pass.

        One rank knows Σ w by then. Several learn it together with the loss: the gradients, linear in it, are corrected
        after the backward pass, and a number near Σ w keeps them in range.
        """
        if self.ranks.rank.count == 1:
            return float(max(1, step.loss_tokens))
        return float(self.trial.train_tokens_per_step)

    def _backward(self, batch: Batch, factor: float) -> Tensor:
        """Add up the gradients of `factor` · Σ w·nll, over ranks at the last micro-batch, and return this rank's sum.

        The strategy averages gradients over ranks, so `factor` holds the number of ranks.
        """
        summed = torch.zeros((), device=self.device)
        for micro_batch, is_last in self._micro_batches(batch):
            with self._reduced(is_last):
                loss = self.model.loss(micro_batch) * factor
                self.manual_backward(loss)
            summed += loss.detach()
        return summed

    def _micro_batches(self, batch: Batch) -> Iterator[tuple[Batch, bool]]:
        """Yield equally many micro-batches on every rank, each with whether it is the last one.

        Ranks gather parameters together, so one with fewer rows reads a row without loss instead.
        """
        most_rows = -(-self.trial.budget.rows_per_step // self.ranks.rank.count)
        micro_rows = self.trial.hardware.micro_batch_rows or most_rows
        count = -(-most_rows // micro_rows)
        for number in range(count):
            micro_batch = batch.rows(number * micro_rows, (number + 1) * micro_rows)
            if not len(micro_batch.task_B):
                first = batch.rows(0, 1)
                micro_batch = replace(first, loss_weight_BT=np.zeros_like(first.loss_weight_BT))
            yield micro_batch, number == count - 1

    def _reduced(self, is_last: bool) -> AbstractContextManager[object]:
        """Reduce gradients over ranks once a step."""
        if isinstance(self.model, FSDPModule):
            self.model.set_requires_gradient_sync(is_last)
        elif not is_last and self.ranks.rank.count > 1:
            return self.trainer.strategy.block_backward_sync()  # type: ignore[attr-defined, no-any-return]
        return nullcontext()

    def _over_ranks(self, step: TrainBatch, loss: Tensor, norm: Tensor) -> StepSums:
        """Sum counts, flags and loss over the ranks and copy them to main memory: a step's only wait for a device."""
        wishes = self.wishes()
        flops = training_flops(self.model, **vars(step.compute_counts))
        counts = (step.train_tokens, step.input_tokens, step.loss_tokens, step.truncated_tokens, flops)
        local = torch.tensor([*counts, wishes.stop, wishes.save, wishes.is_writing], dtype=torch.float64)
        # Before the loss is known: the copy to the device waits for nothing.
        local = local.to(self.device, non_blocking=True)
        measured = torch.stack([loss.double(), norm.double()])
        return StepSums(*self.ranks.sum(torch.cat([local, measured])).tolist())

    def _counted(self, sums: StepSums, windows: tuple[str, ...]) -> Counters:
        """Return the counters after a step."""
        before = self.counters
        return Counters(
            steps=before.steps + 1,
            train_tokens=before.train_tokens + int(sums.train_tokens),
            input_tokens=before.input_tokens + int(sums.input_tokens),
            loss_tokens=before.loss_tokens + int(sums.loss_tokens),
            truncated_tokens=before.truncated_tokens + int(sums.truncated_tokens),
            flops=before.flops + sums.flops,
            windows=chained_digest(before.windows, windows),
        )

    def _learning_rate(self, after: Counters) -> float:
        # A function of the spent budget, whatever counter it is matched on. It is taken at the middle of the step:
        # neither the first step of a warm-up nor the last of a decay to zero has a rate of 0.
        budget = self.trial.budget
        middle = (self.counters.of_budget(budget) + after.of_budget(budget)) / 2
        budget_tokens = budget.train_tokens * middle / self.target
        return learning_rate(self.trial.optimizer.learning_rate, self.trial.schedule, budget_tokens)
