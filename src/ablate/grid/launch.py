"""Processes forked from a server that has paid the imports.

`multiprocessing`'s fork server is a process with one thread: it imports what is heavy once, then forks a child per
job. What a job prints goes to the log in its folder.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

PRELOADED = ["ablate.training.trial", "ablate.grid.job", "hydra"]
PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class Job:
    """A picklable function without arguments, and the file that gets what it prints."""

    function: Callable[[], None]
    log_path: Path


def start_server() -> None:
    """Starts the server in the background, if it does not run yet; it imports while the caller goes on."""
    from multiprocessing import forkserver

    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
    forkserver.ensure_running()


def run_jobs(jobs: Sequence[Job], *, parallel: int) -> list[int]:
    """Runs all jobs, at most `parallel` at once, each in its own process.

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
    codes = [process.exitcode or 0 for process in processes]
    for job, code in zip(jobs, codes, strict=True):
        if code < 0:
            with job.log_path.open("a") as log:
                log.write(f"The process was ended by {signal.Signals(-code).name}.\n")
    return codes


def _end(running: Sequence[multiprocessing.process.BaseProcess]) -> None:
    for process in running:
        process.terminate()
    for process in running:
        process.join(PATIENCE_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()


def _in_child(job: Job) -> None:
    # Ctrl-C reaches the whole process group; the parent decides what it means for this job.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    job.log_path.parent.mkdir(parents=True, exist_ok=True)
    with job.log_path.open("w") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    with contextlib.suppress(KeyboardInterrupt):
        job.function()
