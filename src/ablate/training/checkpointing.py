"""When a trial saves its state, and how: while the training goes on, if a snapshot fits in memory.

All ranks save together. By the clock, they agree at each step by the flags that its sums carry.
"""

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import lightning.pytorch as pl

from ablate.config.trial import CheckpointConfig
from ablate.data.batches.train_batches import TrainBatch
from ablate.ranks import Ranks
from ablate.records.checkpoints import Checkpoints
from ablate.training.divergence import DivergedError
from ablate.training.log import TrialLog
from ablate.training.memory import available_bytes
from ablate.training.module import Flags, TrialModule
from ablate.training.preemption import Preemption
from ablate.training.state import State, captured, restore

log = logging.getLogger(__name__)


class CheckpointSchedule:
    """When the next save is due.

    Args:
        config: by steps, or by the clock.
        now_seconds: of a clock that never goes back.
    """

    def __init__(self, config: CheckpointConfig, now_seconds: float) -> None:
        self.config = config
        self._due_at = now_seconds + config.every_seconds

    def is_due(self, steps: int, now_seconds: float) -> bool:
        """Return whether to save the state after so many steps."""
        if self.config.every_steps is not None:
            return steps % self.config.every_steps == 0
        return now_seconds >= self._due_at

    def saved(self, started_seconds: float, ended_seconds: float) -> None:
        """Note a save that training waited for, so that waiting takes at most `max_time_fraction` of the time."""
        waited = ended_seconds - started_seconds
        self._due_at = ended_seconds + max(self.config.every_seconds, waited / self.config.max_time_fraction)


class Checkpointing(pl.Callback):
    """Save after steps: when it is due, when the process was asked to stop, and when the trial is pruned.

    Args:
        trial_log: runs before this callback, so that a state includes the row of its own step.
        resumed: the checkpoint to resume from; None to start at step 0.
        is_own: whether it is the trial's own checkpoint; else it is its parent's (`schedule.continues_at`).
        memory_fraction: the part of the free memory that a snapshot may take.

    Attributes:
        saves: how many saves were started.
    """

    def __init__(
        self,
        store: Checkpoints,
        config: CheckpointConfig,
        trial_log: TrialLog,
        preemption: Preemption,
        resumed: Path | None,
        *,
        is_own: bool = True,
        memory_fraction: float,
    ) -> None:
        self.store = store
        self.config = config
        self.trial_log = trial_log
        self.preemption = preemption
        self.memory_fraction = memory_fraction
        self._resumed = resumed
        self._is_own = is_own
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None
        self._has_warned_of_waiting = False
        self.saves = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the state, now that the optimizer exists."""
        assert isinstance(pl_module, TrialModule)
        if self._resumed is not None:
            restore(self._resumed, pl_module, self.trial_log, is_own=self._is_own)
        self._schedule = CheckpointSchedule(self.config, time.monotonic())
        pl_module.wishes = lambda: self._wishes(pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: TrainBatch, batch_idx: int
    ) -> None:
        """Save if it is due."""
        assert isinstance(pl_module, TrialModule)
        if pl_module.is_done:
            # The final weights are written next.
            if self.config.keep_final:
                self.save(pl_module, at_once=True)
            return
        if pl_module.agreed.stop or self.trial_log.is_pruned:
            self.save(pl_module, at_once=True)
            trainer.should_stop = True
        elif self._is_due(pl_module):
            started = time.monotonic()
            self.save(pl_module)
            ended = time.monotonic()
            self._schedule.saved(started, ended)
            self.trial_log.checkpoint_seconds += ended - started

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Save the state before the step at which a trial diverged."""
        assert isinstance(pl_module, TrialModule)
        if isinstance(exception, DivergedError):
            self.save(pl_module, at_once=True)

    def close(self) -> None:
        """Wait until nothing is being written."""
        self._finish()
        self._pool.shutdown()

    def _wishes(self, module: TrialModule) -> Flags:
        """Return what this rank asks for at the end of the step that it is in."""
        is_due = self._schedule.is_due(module.counters.steps + 1, time.monotonic())
        is_writing = self._pending is not None and not self._pending.done()
        # Clocks differ: that of rank 0 counts.
        return Flags(self.preemption.requested is not None, module.ranks.is_first and is_due, is_writing)

    def _is_due(self, module: TrialModule) -> bool:
        # By steps, every save counts; by the clock, the next save waits for the last one.
        return module.agreed.save and (self.config.every_steps is not None or not module.agreed.is_writing)

    def save(self, module: TrialModule, *, at_once: bool = False) -> None:
        """Save the state after the newest step.

        Args:
            at_once: return only when it is on the disk. Otherwise a snapshot is written by another thread, if it
                fits in memory.
        """
        self._finish()
        self.saves += 1
        # A failed save costs nothing as long as the trial goes on.
        try:
            state = captured(module, self.trial_log)
            if at_once:
                self._write(state, module.ranks.while_saving)
            elif state.size_bytes < self.memory_fraction * available_bytes():
                self._pending = self._pool.submit(self._write, state.snapshot(), module.ranks.while_saving)
            else:
                self._warn_of_waiting(state)
                self._write(state, module.ranks.while_saving)
        except (OSError, RuntimeError) as error:
            self._warn_of_failure(error)

    def _write(self, state: State, ranks: Ranks) -> None:
        self.store.write(
            state.step, lambda folder: state.write(folder, ranks), keep_last=self.config.keep_last, ranks=ranks
        )

    def _warn_of_waiting(self, state: State) -> None:
        if not self._has_warned_of_waiting:
            self._has_warned_of_waiting = True
            log.warning(
                "Training waits while checkpoints are written: a snapshot of %.1f GB is more than %.0f%% of the free "
                "memory.",
                state.size_bytes / 1e9,
                100 * self.memory_fraction,
            )

    def _finish(self) -> None:
        """Wait for the save that is being written."""
        if self._pending is not None:
            error = self._pending.exception()
            self._pending = None
            if error is not None:
                self._warn_of_failure(error)

    def _warn_of_failure(self, error: BaseException) -> None:
        log.warning(
            "No checkpoint could be written (%s); the training continues and earlier checkpoints are kept.", error
        )
