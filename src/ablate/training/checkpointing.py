"""When a trial saves its state, and how: beside the training where a snapshot fits in memory."""

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import lightning.pytorch as pl
import torch

from ablate.config.trial import CheckpointConfig
from ablate.data.batches.train_batches import TrainBatch
from ablate.records.checkpoints import Checkpoints
from ablate.training.divergence import DivergedError
from ablate.training.log import TrialLog
from ablate.training.memory import available_bytes
from ablate.training.module import TrialModule
from ablate.training.preemption import Preemption
from ablate.training.state import State, captured, restore, size_bytes, snapshot

log = logging.getLogger(__name__)

STATE = "state.pt"


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
        """Whether the state after so many steps is to be saved."""
        if self.config.every_steps is not None:
            return steps % self.config.every_steps == 0
        return now_seconds >= self._due_at

    def saved(self, started_seconds: float, ended_seconds: float) -> None:
        """Training waited from start to end; however slow the disk, that is at most its share of the time."""
        waited = ended_seconds - started_seconds
        self._due_at = ended_seconds + max(self.config.every_seconds, waited / self.config.max_time_fraction)


class Checkpointing(pl.Callback):
    """Saves at steps' critical_values, and at the next one when the process is asked to end.

    Args:
        store: where checkpoints lie.
        config: how often, and how many stay.
        trial_log: stands before this callback, so that a state holds the row of its own step.
        preemption: whether the process was asked to end.
        state: to go on from; None to begin.
        memory_fraction: how much of the memory that is free a snapshot may take.

    Attributes:
        saves: how many were begun.
    """

    def __init__(
        self,
        store: Checkpoints,
        config: CheckpointConfig,
        trial_log: TrialLog,
        preemption: Preemption,
        state: State | None,
        *,
        memory_fraction: float,
    ) -> None:
        self.store = store
        self.config = config
        self.trial_log = trial_log
        self.preemption = preemption
        self.memory_fraction = memory_fraction
        self._state = state
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None
        self._told_of_waiting = False
        self.saves = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes the state up, now that the optimizer stands."""
        assert isinstance(pl_module, TrialModule)
        # Lightning's own handlers would raise at the batch's end, before we have saved.
        self.preemption.take_over()
        if self._state is not None:
            restore(self._state, pl_module, self.trial_log)
            self._state = None
        self._timetable = CheckpointSchedule(self.config, time.monotonic())

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: TrainBatch, batch_idx: int
    ) -> None:
        """Saves, if it is time to."""
        assert isinstance(pl_module, TrialModule)
        if pl_module.is_done:
            # The weights are written next.
            return
        if self.preemption.requested is not None or self.trial_log.is_pruned:
            self.save(pl_module, at_once=True)
            trainer.should_stop = True
        elif self._is_due(pl_module.counters.steps):
            started = time.monotonic()
            self.save(pl_module)
            ended = time.monotonic()
            self._timetable.saved(started, ended)
            self.trial_log.checkpoint_seconds += ended - started

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Keeps the state before the step that a diverged trial could not take."""
        assert isinstance(pl_module, TrialModule)
        if isinstance(exception, DivergedError):
            self.save(pl_module, at_once=True)

    def close(self) -> None:
        """Waits for what is being written: nothing is, once the lease is given back."""
        self._finish()
        self._pool.shutdown()

    def _is_due(self, steps: int) -> bool:
        is_writing = self._pending is not None and not self._pending.done()
        # Steps are a promise; by the clock, the next save waits for the last.
        if is_writing and self.config.every_steps is None:
            return False
        return self._timetable.is_due(steps, time.monotonic())

    def save(self, module: TrialModule, *, at_once: bool = False) -> None:
        """Saves the state after the newest step.

        Args:
            module: what is trained.
            at_once: whether it must be on the disk on return; else it is written beside the training if a snapshot
                fits in memory.
        """
        self._finish()
        self.saves += 1
        # A save that fails costs something only if the trial ends too: it goes on.
        try:
            state = captured(module, self.trial_log)
            if at_once:
                self._write(state)
            elif size_bytes(state) < self.memory_fraction * available_bytes():
                self._pending = self._pool.submit(self._write, snapshot(state))
            else:
                self._tell_of_waiting(state)
                self._write(state)
        except (OSError, RuntimeError) as error:
            self._tell_of_failure(error)

    def _write(self, state: State) -> None:
        def fill(folder: Path) -> None:
            torch.save(state, folder / STATE)

        self.store.write(state["counters"]["steps"], fill, keep_last=self.config.keep_last)

    def _tell_of_waiting(self, state: State) -> None:
        if not self._told_of_waiting:
            self._told_of_waiting = True
            log.warning(
                "Training waits while checkpoints are written: a snapshot of %.1f GB is more than %.0f%% of the memory "
                "that is free.",
                size_bytes(state) / 1e9,
                100 * self.memory_fraction,
            )

    def _finish(self) -> None:
        """Waits for the save that is under way."""
        if self._pending is not None:
            error = self._pending.exception()
            self._pending = None
            if error is not None:
                self._tell_of_failure(error)

    def _tell_of_failure(self, error: BaseException) -> None:
        log.warning("No checkpoint could be written (%s); the training goes on, earlier ones are kept.", error)


def load_newest(store: Checkpoints) -> State | None:
    """The newest intact state, or None. Raises LedgerError like `Checkpoints.newest`."""
    path = store.newest()
    if path is None:
        return None
    state = torch.load(path / STATE, weights_only=True, map_location="cpu")
    assert isinstance(state, dict)
    return state
