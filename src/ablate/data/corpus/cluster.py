"""A step's tasks on a cluster, through datatrove's executors.

datatrove and not Ray Data: its Slurm executor needs no cluster of its own inside the job, its tasks are numbered and
write files as ours do, and its Ray executor serves those who have one. The cache folder must be shared.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.config.trial import PreparationConfig
from ablate.data.corpus.preparation_step import Advance, Stage, perform
from ablate.errors import FailureError, UsageError

_POLL_SECONDS = 5
_GRACE_POLLS = 3


@dataclass(frozen=True)
class _Tasks:
    """A step of a datatrove pipeline: task number `rank` of those that were missing."""

    stage: Stage
    work: Path
    missing: tuple[int, ...]

    def __call__(self, data: Any, rank: int, world_size: int) -> Iterator[Any]:
        perform(self.stage, self.work, self.missing[rank], lambda size: None)
        return iter(())


def run_on_cluster(stage: Stage, work: Path, config: PreparationConfig, advance: Advance) -> None:
    """Does what is missing and waits for it.

    Raises:
        FailureError: datatrove is not installed, or a task failed.
        UsageError: arguments that the executor does not take.
    """
    missing = tuple(stage.missing(work))
    if not missing:
        return
    logs = work / "logs" / f"{stage.name}-{time.time_ns()}"
    # Absolute: a job starts elsewhere.
    executor = _executor(_Tasks(stage, work.absolute(), missing), config, logs.absolute())
    executor.run()
    waiting, unseen = set(missing), 0
    while waiting:
        done = {number for number in waiting if stage.folder(work, number).is_dir()}
        for number in done:
            advance(stage.sizes[number])
        waiting -= done
        if waiting and not done and not _is_queued(executor):
            unseen += 1
        else:
            unseen = 0
        # A shared file system shows a folder some time after the job that wrote it is gone.
        if unseen > _GRACE_POLLS:
            raise FailureError(
                f"{stage.title}: {len(waiting)} of {len(missing)} tasks failed. Their logs: {logs}. The same command "
                "does what is missing."
            )
        if waiting:
            time.sleep(_POLL_SECONDS)


def _executor(tasks: _Tasks, config: PreparationConfig, logs: Path) -> Any:
    try:
        from datatrove.executor import RayPipelineExecutor, SlurmPipelineExecutor
    except ImportError:
        raise FailureError(
            f"preparation={config.executor}: goes through datatrove, which is not installed.\n"
            "Install it from a checkout: pip install -e '.[cluster]'"
        ) from None
    given = dict(config.parameters)
    if config.executor == "slurm":
        given = {"venv_path": sys.prefix, "job_name": f"ablate-{tasks.stage.name}", **given}
    kind = {"slurm": SlurmPipelineExecutor, "ray": RayPipelineExecutor}[config.executor]
    common = {"tasks": len(tasks.missing), "workers": config.workers or -1, "logging_dir": str(logs)}
    try:
        return kind(pipeline=[tasks], **common, **given)
    except TypeError as error:
        raise UsageError(
            f"preparation: {error}. What follows executor and workers is given to {kind.__name__}."
        ) from None


def _is_queued(executor: Any) -> bool:
    """Whether Slurm still knows of the job, or can't be asked; other executors return when all is done."""
    job = getattr(executor, "job_id", None)
    if job is None:
        return False
    found = subprocess.run(["squeue", "--noheader", "--jobs", str(job)], capture_output=True, text=True, check=False)
    return bool(found.stdout.strip()) or (found.returncode != 0 and "Invalid job id" not in found.stderr)
