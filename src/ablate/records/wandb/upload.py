"""Uploads trials to W&B from what the ledger holds.

A trial that was interrupted has an offline folder per attempt, and `wandb sync` appends one to the other: the steps
after a checkpoint are there twice, and uploading a folder again appends it again. So the ledger's log is sent instead,
as a run that W&B resumes: it tells how far it is, and gets what it lacks.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ablate.records.wandb.writer import RunDescription, settings

# Uploading a run is mostly waiting.
PARALLEL = 8


@dataclass(frozen=True)
class Run:
    """A trial as a run.

    Attributes:
        project: W&B's project, or ENTITY/PROJECT.
        rows: the whole log, and scores at its last step.
        summary: what the trial came to.
    """

    trial_id: str
    project: str
    description: RunDescription
    rows: Sequence[tuple[int, dict[str, Any]]]
    summary: dict[str, Any]


@dataclass(frozen=True)
class Upload:
    """What W&B got of a run.

    Attributes:
        rows: how many steps it lacked.
        problem: why it was not uploaded, or None.
    """

    run: Run
    rows: int = 0
    url: str | None = None
    problem: str | None = None


def upload(runs: Sequence[Run]) -> Iterator[Upload]:
    """Upload runs, some at a time, and yield what became of each, in order.

    Nothing more is tried if the first one fails: a login or a network that fails fails for all.
    """
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    if not runs:
        return
    first = _upload(runs[0])
    yield first
    if first.problem is not None:
        return
    pool = ThreadPoolExecutor(PARALLEL)
    try:
        yield from pool.map(_upload, runs[1:])
    finally:
        pool.shutdown(cancel_futures=True)


def _upload(run: Run) -> Upload:
    import wandb

    with tempfile.TemporaryDirectory(prefix="ablate-sync-") as folder:
        try:
            started = wandb.init(
                mode="online",
                dir=folder,
                resume="allow",
                # Several runs at once in this process.
                reinit="create_new",
                settings=settings(wandb),
                **run.description.arguments(run.trial_id, run.project),
            )
            lacking = [(step, values) for step, values in run.rows if step >= started.starting_step]
            for step, values in lacking:
                started.log(values, step=step)
            started.summary.update(run.summary)
            url = started.url
            started.finish()
        except Exception as error:  # Errors of W&B, its service and the network share no base class.
            return Upload(run, problem=str(error) or type(error).__name__)
    return Upload(run, len({step for step, _ in lacking}), url)
