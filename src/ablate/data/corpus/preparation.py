"""Runs preparation steps: in this process, in worker processes of this machine, or on a cluster."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

from rich.progress import Progress, TaskID

from ablate.config.data import PreparationConfig
from ablate.data.corpus.cache import atomic_directory, remove, resume_work
from ablate.data.corpus.cluster import run_on_cluster
from ablate.data.corpus.preparation_step import PreparationStep
from ablate.files import naming_full_disk

# Below this, starting processes takes longer than the work.
_ALONE_BYTES = 4_000_000


def prepare(
    folder: Path,
    work: Path,
    recipe: bytes,
    steps: Sequence[PreparationStep],
    assemble: Callable[[Path], None],
    config: PreparationConfig,
    progress: Progress,
) -> None:
    """Build a folder of the cache from the results of steps; results of an interrupted command are used again.

    Args:
        folder: to build; the caller has locked it.
        work: its work folder, removed at the end.
        recipe: see `resume_work`.
        steps: run one after the other.
        assemble: writes the folder's files, from the work folder's, into the folder that it is given.
        config: where tasks run.
        progress: shows a bar for each step.

    Raises:
        FailureError: a full disk.
    """
    with naming_full_disk(folder.parent, "cache_dir"):
        resume_work(work, recipe)
        for step in steps:
            run_step(step, work, config, progress)
        with atomic_directory(folder) as scratch:
            assemble(scratch)
        remove(work)


def run_step(step: PreparationStep, work: Path, config: PreparationConfig, progress: Progress) -> None:
    """Do a step's missing tasks. Raises what a task raises."""
    missing = step.missing(work)
    missing_bytes = sum(step.sizes[number] for number in missing)
    bar = progress.add_task(step.title, total=sum(step.sizes))

    def advance(size: int) -> None:
        progress.advance(bar, size)

    advance(sum(step.sizes) - missing_bytes)
    if config.executor != "local":
        run_on_cluster(step, work, config, advance)
    elif missing:
        workers = min(len(missing), config.workers or len(os.sched_getaffinity(0)))
        if workers == 1 or missing_bytes < _ALONE_BYTES:
            for number in missing:
                step.perform(work, number, advance)
        else:
            _run_in_processes(step, work, missing, workers, progress, bar)
    progress.update(bar, completed=sum(step.sizes))


def _run_in_processes(
    step: PreparationStep, work: Path, missing: list[int], workers: int, progress: Progress, bar: TaskID
) -> None:
    context = multiprocessing.get_context("spawn")
    done = context.Value("q", 0)
    before = progress.tasks[bar].completed
    with ProcessPoolExecutor(workers, context, _start_worker, (done,)) as pool:
        waiting = {pool.submit(_perform_in_worker, step, work, number) for number in missing}
        try:
            while waiting:
                finished, waiting = wait(waiting, timeout=0.2)
                progress.update(bar, completed=before + done.value)
                for future in finished:
                    future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_done: Any = None


def _start_worker(done: Any) -> None:
    global _done
    _done = done
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    parent = os.getppid()

    def watch() -> None:
        # Without this, a worker whose parent was killed waits for work forever.
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _advance(size: int) -> None:
    with _done.get_lock():
        _done.value += size


def _perform_in_worker(step: PreparationStep, work: Path, number: int) -> None:
    step.perform(work, number, _advance)
