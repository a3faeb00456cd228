"""A data loader of train batches."""

import multiprocessing
import os
import signal
import threading
from typing import Any

from torch.utils.data import DataLoader, Dataset

from ablate.data.batches.train_batches import TrainBatch, TrainBatches

# A trial ends at its budget, not at the end of its data.
ENDLESS = 2**40


class TrainBatchDataset(Dataset[TrainBatch]):
    """TrainBatches as a dataset. A step depends on its number alone, so each worker can have a copy."""

    def __init__(self, steps: TrainBatches) -> None:
        self.steps = steps

    def __getitem__(self, step: int) -> TrainBatch:
        return self.steps[step]

    def __len__(self) -> int:
        return ENDLESS


def _identity(step: Any) -> Any:
    return step


def _end_with_parent(worker: int) -> None:
    """End this worker when its trial's process ends. torch watches the fork server instead, which lives on."""

    # The trial handles signals: until it has saved, it may need one more step from its workers.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)

    def wait() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def batch_loader(steps: TrainBatches, *, first_step: int, workers: int) -> "DataLoader[TrainBatch]":
    """Load TrainBatches from `first_step` on, in order.

    Workers are forked from the server that trials are forked from. A fork of a trial would copy its threads' locks.
    """
    return DataLoader(
        TrainBatchDataset(steps),
        batch_size=None,
        sampler=range(first_step, ENDLESS),
        num_workers=workers,
        multiprocessing_context="forkserver" if workers else None,
        collate_fn=_identity,
        worker_init_fn=_end_with_parent,
    )
