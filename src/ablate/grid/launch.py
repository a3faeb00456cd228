"""Processes forked from a server that has paid the imports.

`multiprocessing`'s fork server is a process with one thread: it imports what is heavy once, then forks a child per
job.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from pathlib import Path

PRELOADED = ["ablate.training.trial", "ablate.grid.job", "hydra"]
PATIENCE_SECONDS = 10.0


def start_server() -> None:
    """Starts the server in the background, if it does not run yet; it imports while the caller goes on."""
    from multiprocessing import forkserver

    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
    forkserver.ensure_running()


def run_jobs(jobs: Sequence[Callable[[], None]], *, parallel: int) -> list[int]:
    """Runs all jobs, picklable functions without arguments, at most `parallel` at once, each in its own process.

    Returns:
        Each job's exit code, negative for the signal that ended it; one job's failure stops no other.

    Raises:
        KeyboardInterrupt: after the running jobs were ended.
    """
    start_server()
    context = multiprocessing.get_context("forkserver")
    processes = [context.Process(target=_in_child, args=(job,)) for job in jobs]
    waiting = list(processes)
    running: list[multiprocessing.process.BaseProcess] = []
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                waiting[0].start()
                running.append(waiting.pop(0))
            wait([process.sentinel for process in running])
            running = [process for process in running if process.is_alive()]
    except BaseException:
        _end(running)
        raise
    return [process.exitcode or 0 for process in processes]


def _end(running: Sequence[multiprocessing.process.BaseProcess]) -> None:
    for process in running:
        process.terminate()
    for process in running:
        process.join(PATIENCE_SECONDS)
        if process.is_alive():
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
