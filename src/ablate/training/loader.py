"""TrainBatches as a Lightning data source."""

import multiprocessing
import os
import signal
import threading
from typing import Any

from torch.utils.data import DataLoader, Dataset

from ablate.data.batches.train_batches import TrainBatch, TrainBatches

# The trial ends at its budget, not at the end of its data: rows never run out.
ENDLESS = 2**40


class TrainBatchDataset(Dataset[TrainBatch]):
    """TrainBatches by number; a worker's copy is as good as any other, as a step depends on its number alone."""

    def __init__(self, steps: TrainBatches) -> None:
        self.steps = steps

    def __getitem__(self, step: int) -> TrainBatch:
        return self.steps[step]

    def __len__(self) -> int:
        return ENDLESS


def _as_it_is(step: Any) -> Any:
    return step


def _end_with_parent(worker: int) -> None:
    """Ends this worker when its trial is killed; torch watches the process it was forked from, which lives on."""

    # What ends a trial ends its workers through it: until it has saved, it may ask for one more step.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)

    def wait() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def batch_loader(steps: TrainBatches, *, first_step: int, workers: int) -> "DataLoader[TrainBatch]":
    """TrainBatches from `first_step` on, in order.

    Workers are forked from the server that trials are forked from: a fork of a trial would copy its threads' locks.
    """
    return DataLoader(
        TrainBatchDataset(steps),
        batch_size=None,
        sampler=range(first_step, ENDLESS),
        num_workers=workers,
        multiprocessing_context="forkserver" if workers else None,
        collate_fn=_as_it_is,
        worker_init_fn=_end_with_parent,
    )
