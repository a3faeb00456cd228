"""Processes forked from a server that has paid the imports.

`multiprocessing`'s fork server is a process with one thread: it imports what is heavy once, then forks a child per
job.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType

Handler = Callable[[int, FrameType | None], object] | signal.Handlers

PRELOADED = ["ablate.training.trial", "ablate.grid.job", "hydra"]
# For a job that was asked to end: its step, and the save after it.
PATIENCE_SECONDS = 600.0
POLL_SECONDS = 0.2
SHIELDED = (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1)


def start_server(*more: str) -> None:
    """Starts the server in the background, if it does not run yet; it imports, `more` too, while the caller goes on.

    It lives in the terminal's process group and must outlive the signals that are sent to that: without it nobody
    would know whether a trial still saves. What is ignored here stays so in the server, and in children until they
    say otherwise.
    """
    from multiprocessing import forkserver

    multiprocessing.get_context("forkserver").set_forkserver_preload([*PRELOADED, *more])
    with handling(SHIELDED, signal.SIG_IGN):
        forkserver.ensure_running()


@contextlib.contextmanager
def handling(numbers: Iterable[signal.Signals], handler: Handler) -> Iterator[None]:
    """Inside the block these signals have this handler, after it those that they had."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


class Interrupts:
    """Signals that end a grid, noted until it is a good moment: not between a process's start and our knowing of it."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.count = 0

    @classmethod
    def heard(cls) -> list[signal.Signals]:
        """Those that are not ignored, as SIGHUP is under nohup."""
        return [number for number in cls.SIGNALS if signal.getsignal(number) != signal.SIG_IGN]

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Inside the block they are counted and do nothing."""
        with handling(self.heard(), self._note):
            yield

    def _note(self, number: int, frame: object) -> None:
        self.count += 1


def run_jobs(jobs: Iterable[Callable[[], None]], *, parallel: int) -> list[int]:
    """Runs all jobs, picklable functions without arguments, at most `parallel` at once, each in its own process.

    Args:
        jobs: the next one is asked for when there is room for it, so that it may depend on what earlier ones found.
        parallel: how many at once.

    Returns:
        Each job's exit code, negative for the signal that ended it; one job's failure stops no other.

    Raises:
        KeyboardInterrupt: after the running jobs were asked to end, and did.
    """
    start_server()
    context = multiprocessing.get_context("forkserver")
    coming, is_over = iter(jobs), False
    processes: list[multiprocessing.process.BaseProcess] = []
    running: list[multiprocessing.process.BaseProcess] = []
    interrupts = Interrupts()
    with interrupts.noted():
        try:
            while running or not is_over:
                while not is_over and len(running) < parallel and not interrupts.count:
                    job = next(coming, None)
                    if job is None:
                        is_over = True
                        break
                    process = context.Process(target=_in_child, args=(job,))
                    process.start()
                    processes.append(process)
                    running.append(process)
                if interrupts.count:
                    raise KeyboardInterrupt
                wait([process.sentinel for process in running], POLL_SECONDS)
                running = [process for process in running if process.is_alive()]
        except BaseException:
            _end(running, interrupts)
            raise
    return [process.exitcode or 0 for process in processes]


def _end(running: Sequence[multiprocessing.process.BaseProcess], interrupts: Interrupts) -> None:
    """Asks the jobs to end and waits; one more interrupt, or the end of patience, kills them."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    for process in running:
        process.terminate()
    # Whoever read this may be gone with the terminal.
    with contextlib.suppress(OSError):
        print("Ending. Running trials save at their next step; once more ends them at once.", flush=True)
    while any(process.is_alive() for process in running) and interrupts.count < 2 and time.monotonic() < deadline:
        wait([process.sentinel for process in running if process.is_alive()], POLL_SECONDS)
    for process in running:
        process.kill()
        process.join()


def _in_child(job: Callable[[], None]) -> None:
    # Ctrl-C and a closed terminal reach the whole process group; the parent decides what they mean for this job.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    job()


def print_into(path: Path) -> None:
    """From here on this process prints to the end of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
