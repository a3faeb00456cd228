"""Send the rows of a trial's log to its supervisor."""

import math
import time
from dataclasses import asdict
from typing import Any

import lightning.pytorch as pl

from ablate.data.batches.stream import Stream
from ablate.data.batches.train_batches import TrainBatch
from ablate.evaluation.evaluator import Evaluator
from ablate.records.metrics import VALIDATION
from ablate.training.counters import Counters
from ablate.training.divergence import DivergedError
from ablate.training.messages import Activity, Channel, LogRow, SyncLog, ValidationScored
from ablate.training.module import TrialModule
from ablate.training.sharding import reshard
from ablate.training.speed import speed


class TrialLog(pl.Callback):
    """Send a row at the first step, every n steps and the last, and at each evaluation on the validation split.

    `train/loss` is the mean over the steps since the last training row, in nats per loss token of the trial's own
    objective: it compares seeds of one arm, not arms.

    Attributes:
        training_seconds: training time up to the newest row, over all attempts, without evaluation.
        checkpoint_seconds: the part of `training_seconds` that was spent on waiting for checkpoints.
        evaluation_seconds: time of the evaluations on the validation split.
        newest_validation: the newest scores on the validation split.
        is_pruned: whether the study's pruner stopped the trial.
    """

    def __init__(
        self,
        channel: Channel,
        evaluator: Evaluator,
        stream: Stream,
        *,
        every_steps: int,
        evaluations: int,
        has_pruner: bool = False,
    ) -> None:
        self.channel = channel
        self.evaluator = evaluator
        self.stream = stream
        self.every_steps = every_steps
        self.evaluations = evaluations
        self.has_pruner = has_pruner
        self.done_evaluations = 0
        self.newest_validation: dict[str, float] = {}
        self.is_pruned = False
        self._losses: list[float] = []
        self._last = Counters()
        self._has_batch = False
        self.training_seconds = 0.0
        self.checkpoint_seconds = 0.0
        self.evaluation_seconds = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._last_time = time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: TrainBatch, batch_idx: int
    ) -> None:
        """Report that the loader has delivered its first batch."""
        if not self._has_batch:
            self._has_batch = True
            self.channel.send(Activity("training"))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: TrainBatch, batch_idx: int
    ) -> None:
        """Send the row of this step, if it is logged."""
        assert isinstance(pl_module, TrialModule)
        counters = pl_module.counters
        self._losses.append(pl_module.last_loss)
        metrics: dict[str, float] = {}
        if trainer.should_stop or counters.steps == 1 or counters.steps % self.every_steps == 0:
            metrics |= self._training_metrics(trainer, pl_module)
        due = int(self._progress(pl_module) * self.evaluations)
        is_due = due > self.done_evaluations
        if is_due:
            self.done_evaluations = due
            metrics |= self._validation_metrics(pl_module)
        if metrics:
            self._append(pl_module, metrics)
        if is_due and self.has_pruner:
            # After the last step too, so the study gets that score.
            decision = self.channel.ask(ValidationScored(due, self.newest_validation))
            self.is_pruned = decision.should_prune and not pl_module.is_done

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Send the last steps of a diverged trial."""
        assert isinstance(pl_module, TrialModule)
        if isinstance(exception, DivergedError) and self._losses:
            metrics = self._training_metrics(trainer, pl_module)
            # JSON has no NaN or infinity; the trial's record has them as text.
            self._append(pl_module, {name: value for name, value in metrics.items() if math.isfinite(value)})

    def _append(self, module: TrialModule, metrics: dict[str, float]) -> None:
        counters = module.counters
        row = {"progress": self._progress(module), **counters.as_metrics(), **self._reading(module), **metrics}
        self.channel.send(LogRow(counters.steps, row))

    def _reading(self, module: TrialModule) -> dict[str, float]:
        """Return each source's fraction of the rows read so far, and its epochs."""
        metrics: dict[str, float] = {}
        rows = module.counters.steps * module.trial.budget.rows_per_step
        for source, (fraction, epochs) in self.stream.reading(rows).items():
            metrics |= {f"data/fraction/{source}": fraction, f"data/epochs/{source}": epochs}
        return metrics

    @staticmethod
    def _progress(module: TrialModule) -> float:
        return min(1.0, module.counters.of_budget(module.trial.budget) / module.target)

    def _training_metrics(self, trainer: pl.Trainer, module: TrialModule) -> dict[str, float]:
        metrics = {
            "train/loss": sum(self._losses) / len(self._losses),
            "train/gradient_norm": module.gradient_norm,
            "train/learning_rate": float(trainer.optimizers[0].param_groups[0]["lr"]),
            **self._speed(module),
        }
        self._losses.clear()
        return metrics

    def _speed(self, module: TrialModule) -> dict[str, float]:
        now = time.perf_counter()
        seconds = now - self._last_time
        self.training_seconds += seconds
        rates = speed(module, self._last, module.counters, seconds)
        self._last_time, self._last = now, module.counters
        return {
            "speed/training_seconds": self.training_seconds,
            "speed/checkpoint_seconds": self.checkpoint_seconds,
            **{f"speed/{name}": value for name, value in rates.items()},
        }

    def state(self) -> dict[str, Any]:
        """Sync the log to disk, and return its size with the state that the next rows depend on."""
        return {
            "bytes": self.channel.ask(SyncLog()).log_bytes,
            "losses": list(self._losses),
            "last": asdict(self._last),
            "training_seconds": self.training_seconds,
            "checkpoint_seconds": self.checkpoint_seconds,
            "evaluation_seconds": self.evaluation_seconds,
            "done_evaluations": self.done_evaluations,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state. The supervisor has truncated the log to the state's size."""
        self._losses = list(state["losses"])
        self._last = Counters(**state["last"])
        self.training_seconds = state["training_seconds"]
        self.checkpoint_seconds = state["checkpoint_seconds"]
        self.evaluation_seconds = state["evaluation_seconds"]
        self.done_evaluations = state["done_evaluations"]

    def begin_at(self, module: TrialModule) -> None:
        """Begin at the counters of the parent, whose own log holds the earlier steps."""
        self._last = module.counters
        self.done_evaluations = int(self._progress(module) * self.evaluations)

    def _validation_metrics(self, module: TrialModule) -> dict[str, float]:
        started = time.perf_counter()
        module.model.eval()
        with module.trainer.precision_plugin.forward_context():
            scores = self.evaluator.validation_summary(module.model)
        reshard(module.model)
        module.model.train()
        # Tokens per second do not include evaluation time.
        seconds = time.perf_counter() - started
        self._last_time += seconds
        self.evaluation_seconds += seconds
        self.newest_validation = scores
        metrics = {f"{VALIDATION}{name}": value for name, value in scores.items()}
        return {"speed/evaluation_seconds": self.evaluation_seconds, **metrics}
