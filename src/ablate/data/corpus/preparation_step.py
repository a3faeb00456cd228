"""A step of the preparation: numbered tasks, each of which writes one folder. What is there need not be done again."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress, TaskID

from ablate.config.trial import PreparationConfig
from ablate.data.corpus.cache import atomic_directory

Advance = Callable[[int], None]
# (work folder, folder to write into, number of the task, told of each byte done)
Task = Callable[[Path, Path, int, Advance], None]

# Below this, processes take longer to start than the work.
_ALONE_BYTES = 4_000_000


@dataclass(frozen=True)
class Stage:
    """A step.

    Attributes:
        name: of the folder below the work folder that its results are in.
        title: for people.
        task: does one of the tasks; a function of a module, so that other processes find it.
        sizes: about how many bytes each task has to do.
    """

    name: str
    title: str
    task: Task
    sizes: Sequence[int]

    def folder(self, work: Path, number: int) -> Path:
        """Where a task's result is, once it is whole."""
        return work / self.name / f"{number:05d}"

    def missing(self, work: Path) -> list[int]:
        """The tasks that have no result."""
        return [number for number in range(len(self.sizes)) if not self.folder(work, number).is_dir()]

    def run(self, work: Path, config: PreparationConfig, progress: Progress) -> None:
        """Does what is missing. Raises what a task raises."""
        missing = self.missing(work)
        bar = progress.add_task(self.title, total=sum(self.sizes))
        progress.advance(bar, sum(self.sizes) - sum(self.sizes[number] for number in missing))
        if config.executor != "local":
            from ablate.data.corpus.cluster import run_on_cluster

            run_on_cluster(self, work, config, lambda size: progress.advance(bar, size))
        elif missing:
            workers = min(len(missing), config.workers or len(os.sched_getaffinity(0)))
            if workers == 1 or sum(self.sizes[number] for number in missing) < _ALONE_BYTES:
                for number in missing:
                    perform(self, work, number, lambda size: progress.advance(bar, size))
            else:
                self._run_in_processes(work, missing, workers, progress, bar)
        progress.update(bar, completed=sum(self.sizes))

    def _run_in_processes(self, work: Path, missing: list[int], workers: int, progress: Progress, bar: TaskID) -> None:
        context = multiprocessing.get_context("spawn")
        done = context.Value("q", 0)
        before = progress.tasks[bar].completed
        with ProcessPoolExecutor(workers, context, _start_worker, (done,)) as pool:
            waiting = {pool.submit(_perform_in_worker, self, work, number) for number in missing}
            try:
                while waiting:
                    finished, waiting = wait(waiting, timeout=0.2)
                    progress.update(bar, completed=before + done.value)
                    for future in finished:
                        future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def perform(stage: Stage, work: Path, number: int, advance: Advance) -> None:
    """Does one task; its folder appears when it is whole."""
    folder = stage.folder(work, number)
    with atomic_directory(folder) as scratch:
        stage.task(work, scratch, number, advance)


_done: Any = None


def _start_worker(done: Any) -> None:
    global _done
    _done = done
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    parent = os.getppid()

    def watch() -> None:
        # A worker whose parent was killed waits for work for ever.
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _advance(size: int) -> None:
    with _done.get_lock():
        _done.value += size


def _perform_in_worker(stage: Stage, work: Path, number: int) -> None:
    perform(stage, work, number, _advance)
