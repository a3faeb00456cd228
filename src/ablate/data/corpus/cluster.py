"""Runs the tasks of a preparation step on a cluster, with datatrove's executors. The cache folder must be shared.

datatrove rather than Ray Data: its Slurm executor needs no cluster inside the job, and its tasks are numbered and write
files, as ours do. Its Ray executor serves those who have a Ray cluster.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.config.data import PreparationConfig
from ablate.data.corpus.preparation_step import Advance, PreparationStep
from ablate.errors import FailureError, UsageError

_POLL_SECONDS = 5
_GRACE_POLLS = 3


@dataclass(frozen=True)
class _Tasks:
    """A datatrove pipeline step that does the missing task number `rank`."""

    step: PreparationStep
    work: Path
    missing: tuple[int, ...]

    def __call__(self, data: Any, rank: int, world_size: int) -> Iterator[Any]:
        self.step.perform(self.work, self.missing[rank], lambda size: None)
        return iter(())


def run_on_cluster(step: PreparationStep, work: Path, config: PreparationConfig, advance: Advance) -> None:
    """Submit a step's missing tasks and wait for them.

    Raises:
        FailureError: datatrove is not installed, or a task failed.
        UsageError: the executor does not accept the configured arguments.
    """
    missing = tuple(step.missing(work))
    if not missing:
        return
    logs = work / "logs" / f"{step.name}-{time.time_ns()}"
    # Absolute, because a job starts in another folder.
    executor = _executor(_Tasks(step, work.absolute(), missing), config, logs.absolute())
    executor.run()
    waiting, unseen = set(missing), 0
    while waiting:
        done = {number for number in waiting if step.folder(work, number).is_dir()}
        for number in done:
            advance(step.sizes[number])
        waiting -= done
        unseen = unseen + 1 if waiting and not done and not _is_queued(executor) else 0
        # A shared file system may show a folder only some time after its job has ended.
        if unseen > _GRACE_POLLS:
            raise FailureError(
                f"{step.title}: {len(waiting)} of {len(missing)} tasks failed. Their logs: {logs}. Run the same "
                "command again to do the missing tasks."
            )
        if waiting:
            time.sleep(_POLL_SECONDS)


def _executor(tasks: _Tasks, config: PreparationConfig, logs: Path) -> Any:
    try:
        from datatrove.executor import RayPipelineExecutor, SlurmPipelineExecutor
    except ImportError:
        raise FailureError(
            f"preparation={config.executor}: needs datatrove, which is not installed.\n"
            "Install it from a checkout: pip install -e '.[cluster]'"
        ) from None
    arguments = dict(config.parameters)
    if config.executor == "slurm":
        arguments = {"venv_path": sys.prefix, "job_name": f"ablate-{tasks.step.name}", **arguments}
    kind = {"slurm": SlurmPipelineExecutor, "ray": RayPipelineExecutor}[config.executor]
    common = {"tasks": len(tasks.missing), "workers": config.workers or -1, "logging_dir": str(logs)}
    try:
        return kind(pipeline=[tasks], **common, **arguments)
    except TypeError as error:
        raise UsageError(
            f"preparation: {error}. The keys after executor and workers are arguments of {kind.__name__}."
        ) from None


def _is_queued(executor: Any) -> bool:
    """Return whether Slurm still has the job or does not answer. Other executors return only when all is done."""
    job = getattr(executor, "job_id", None)
    if job is None:
        return False
    queue = subprocess.run(["squeue", "--noheader", "--jobs", str(job)], capture_output=True, text=True, check=False)
    return bool(queue.stdout.strip()) or (queue.returncode != 0 and "Invalid job id" not in queue.stderr)
