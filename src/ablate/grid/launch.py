"""Processes forked from a server that has paid the imports.

`multiprocessing`'s fork server is a process with one thread: it imports what is heavy once, then forks a child per
job.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from pathlib import Path

PRELOADED = ["ablate.training.trial", "ablate.grid.job", "hydra"]
# For a job that was asked to end: its step, and the save after it.
PATIENCE_SECONDS = 600.0
POLL_SECONDS = 0.2


def start_server() -> None:
    """Starts the server in the background, if it does not run yet; it imports while the caller goes on."""
    from multiprocessing import forkserver

    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
    forkserver.ensure_running()


class Interrupts:
    """Signals that end a grid, noted until it is a good moment: not between a process's start and our knowing of it."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> "Interrupts":
        self._handlers = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        self.count += 1


def run_jobs(jobs: Sequence[Callable[[], None]], *, parallel: int) -> list[int]:
    """Runs all jobs, picklable functions without arguments, at most `parallel` at once, each in its own process.

    Returns:
        Each job's exit code, negative for the signal that ended it; one job's failure stops no other.

    Raises:
        KeyboardInterrupt: after the running jobs were asked to end, and did.
    """
    start_server()
    context = multiprocessing.get_context("forkserver")
    processes = [context.Process(target=_in_child, args=(job,)) for job in jobs]
    waiting = list(processes)
    running: list[multiprocessing.process.BaseProcess] = []
    with Interrupts() as interrupts:
        while (waiting or running) and not interrupts.count:
            while waiting and len(running) < parallel:
                waiting[0].start()
                running.append(waiting.pop(0))
            wait([process.sentinel for process in running], POLL_SECONDS)
            running = [process for process in running if process.is_alive()]
        if interrupts.count:
            print("Ending. Running trials save at their next step; once more ends them at once.", flush=True)
            _end(running, interrupts)
            raise KeyboardInterrupt
    return [process.exitcode or 0 for process in processes]


def _end(running: Sequence[multiprocessing.process.BaseProcess], interrupts: Interrupts) -> None:
    """Asks the jobs to end and waits; one more interrupt, or the end of patience, kills them."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    for process in running:
        process.terminate()
    while any(process.is_alive() for process in running) and interrupts.count < 2 and time.monotonic() < deadline:
        wait([process.sentinel for process in running if process.is_alive()], POLL_SECONDS)
    for process in running:
        process.kill()
        process.join()


def _in_child(job: Callable[[], None]) -> None:
    # Ctrl-C reaches the whole process group; the parent decides what it means for this job.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    job()


def print_into(path: Path) -> None:
    """From here on this process prints to the end of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
