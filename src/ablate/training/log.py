"""A trial's log: what each logged step writes, to the ledger first and to its mirror."""

import math
import time
from typing import Any

import lightning.pytorch as pl

from ablate.data.batches.stream import Stream
from ablate.data.batches.train_batches import TrainBatch
from ablate.evaluation.evaluator import Evaluator
from ablate.records.metrics import VALIDATION, MetricsWriter
from ablate.records.wandb.writer import WandbWriter
from ablate.training.counters import Counters
from ablate.training.divergence import DivergedError
from ablate.training.module import TrialModule
from ablate.training.pruning import Pruner


class TrialLog(pl.Callback):
    """Writes a row at the first step, at every n-th and at the last, and one at each evaluation on the validation split.

    `train/loss` is the mean over the steps since it was written last, in nats per loss token of the trial's own
    objective: it compares seeds of one arm, not arms.

    Attributes:
        training_seconds: up to the newest row, over all attempts, scoring aside.
        checkpoint_seconds: the part of them that training waited for checkpoints.
        evaluation_seconds: that it waited for scoring on the validation split; no part of them.
        newest_validation: what the newest scoring on the validation split found.
        is_pruned: whether the pruner said then that the trial is worth no more.
    """

    def __init__(
        self,
        writer: MetricsWriter,
        mirror: WandbWriter,
        evaluator: Evaluator,
        stream: Stream,
        *,
        every_steps: int,
        evaluations: int,
        pruner: Pruner | None = None,
    ) -> None:
        self.writer = writer
        self.mirror = mirror
        self.evaluator = evaluator
        self.stream = stream
        self.every_steps = every_steps
        self.evaluations = evaluations
        self.pruner = pruner
        self.done_evaluations = 0
        self.newest_validation: dict[str, float] = {}
        self.is_pruned = False
        self._losses: list[float] = []
        self._last_tokens = 0
        self.training_seconds = 0.0
        self.checkpoint_seconds = 0.0
        self.evaluation_seconds = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self._last_time = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: TrainBatch, batch_idx: int
    ) -> None:
        """Writes the row of this step, if it is one that is logged."""
        assert isinstance(pl_module, TrialModule)
        counters = pl_module.counters
        self._losses.append(pl_module.last_loss)
        found: dict[str, float] = {}
        if trainer.should_stop or counters.steps == 1 or counters.steps % self.every_steps == 0:
            found |= self._training_metrics(trainer, pl_module)
        due = int(self._progress(pl_module) * self.evaluations)
        is_due = due > self.done_evaluations
        if is_due:
            self.done_evaluations = due
            found |= self._validation_metrics(pl_module)
        if found:
            self._append(pl_module, found)
        if is_due and self.pruner is not None:
            # Asked at the end too, which is a measurement like the others.
            self.is_pruned = self.pruner.should_prune(due, self.newest_validation) and not pl_module.is_done

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Writes how a diverged trial came to its end: the steps since the last row."""
        assert isinstance(pl_module, TrialModule)
        if isinstance(exception, DivergedError) and self._losses:
            found = self._training_metrics(trainer, pl_module)
            # JSON has no number for the rest; the record tells it.
            self._append(pl_module, {name: value for name, value in found.items() if math.isfinite(value)})

    def _append(self, module: TrialModule, found: dict[str, float]) -> None:
        counters = module.counters
        row = {"progress": self._progress(module), **counters.as_metrics(), **self._reading(module), **found}
        self.writer.append(counters.steps, row)
        self.mirror.append(counters.steps, row)

    def _reading(self, module: TrialModule) -> dict[str, float]:
        """What each source was of all that was read, and how often it was read."""
        found: dict[str, float] = {}
        rows = module.counters.steps * module.trial.budget.rows_per_step
        for source, (share, epochs) in self.stream.reading(rows).items():
            found |= {f"data/fraction/{source}": share, f"data/epochs/{source}": epochs}
        return found

    @staticmethod
    def _progress(module: TrialModule) -> float:
        return min(1.0, module.counters.of_budget(module.trial.budget) / module.target)

    def _training_metrics(self, trainer: pl.Trainer, module: TrialModule) -> dict[str, float]:
        found = {
            "train/loss": sum(self._losses) / len(self._losses),
            "train/gradient_norm": module.gradient_norm,
            "train/learning_rate": float(trainer.optimizers[0].param_groups[0]["lr"]),
            **self._speed(module.counters),
        }
        self._losses.clear()
        return found

    def _speed(self, counters: Counters) -> dict[str, float]:
        now = time.perf_counter()
        seconds = now - self._last_time
        tokens = counters.train_tokens - self._last_tokens
        self.training_seconds += seconds
        self._last_time, self._last_tokens = now, counters.train_tokens
        return {
            "speed/training_seconds": self.training_seconds,
            "speed/checkpoint_seconds": self.checkpoint_seconds,
            "speed/train_tokens_per_second": tokens / seconds,
        }

    def state(self) -> dict[str, Any]:
        """What the next rows depend on, among it how long the log is; all of that is on the disk then."""
        return {
            "bytes": self.writer.sync(),
            "losses": list(self._losses),
            "last_tokens": self._last_tokens,
            "training_seconds": self.training_seconds,
            "checkpoint_seconds": self.checkpoint_seconds,
            "evaluation_seconds": self.evaluation_seconds,
            "done_evaluations": self.done_evaluations,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Takes a state up again; the writer kept as many bytes as it tells."""
        self._losses = list(state["losses"])
        self._last_tokens = state["last_tokens"]
        self.training_seconds = state["training_seconds"]
        self.checkpoint_seconds = state["checkpoint_seconds"]
        self.evaluation_seconds = state["evaluation_seconds"]
        self.done_evaluations = state["done_evaluations"]

    def _validation_metrics(self, module: TrialModule) -> dict[str, float]:
        started = time.perf_counter()
        module.model.eval()
        with module.trainer.precision_plugin.forward_context():
            found = self.evaluator.validation_summary(module.model)
        module.model.train()
        # Scoring is no training: its time stays out of tokens per second.
        seconds = time.perf_counter() - started
        self._last_time += seconds
        self.evaluation_seconds += seconds
        self.newest_validation = found
        scores = {f"{VALIDATION}{name}": value for name, value in found.items()}
        return {"speed/evaluation_seconds": self.evaluation_seconds, **scores}
