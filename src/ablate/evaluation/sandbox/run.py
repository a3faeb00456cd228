"""Runs a program under its tests: two processes that are held apart, joined by two pipes."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from ablate.evaluation.sandbox.inside.judge import ENDED, FAILED, NOT_LOADED, PASSED
from ablate.evaluation.sandbox.inside.wire import send
from ablate.evaluation.sandbox.levels import ENVIRONMENT, Level
from ablate.evaluation.sandbox.program import Limits, Outcome, Program, Verdict

OUTCOMES = {
    PASSED: Outcome.PASSED,
    FAILED: Outcome.FAILED,
    NOT_LOADED: Outcome.NOT_LOADED,
    ENDED: Outcome.ENDED,
}
POLL_SECONDS = 0.1
MAX_FILES = 1000


def run(program: Program, limits: Limits, level: Level) -> Verdict:
    """Run a program under its tests. Raises OSError where the level cannot start a process."""
    with _scratch(level) as scratch, _pair(program, limits, level, scratch) as (own, tests):
        over = _watch(own, tests, limits, scratch)
        if over is not None:
            return Verdict(Outcome.OVER_LIMIT, over, level.name)
        assert tests.stderr is not None
        reason = tests.stderr.read(2000).decode(errors="replace")
        outcome = OUTCOMES.get(tests.returncode, Outcome.FAILED)
        if outcome is Outcome.ENDED:
            outcome, reason = _ended(own, limits, reason)
        elif tests.returncode not in OUTCOMES:
            reason = f"the tests' process ended with {tests.returncode}. {reason}".strip()
        return Verdict(outcome, reason, level.name)


@contextmanager
def _scratch(level: Level) -> Iterator[Path]:
    """A folder that the program may write, deleted afterwards with all that it holds."""
    folder = Path(tempfile.mkdtemp(prefix="ablate-program-"))
    try:
        user = level.restrictions("program", folder, Limits())["user"]
        if user is not None:
            os.chown(folder, user, user)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


Process = subprocess.Popen[bytes]


@contextmanager
def _pair(program: Program, limits: Limits, level: Level, scratch: Path) -> Iterator[tuple[Process, Process]]:
    """The process of the program and that of its tests, killed at the end."""
    to_program, to_tests = os.pipe(), os.pipe()
    started: list[Process] = []
    try:
        try:
            for role, reads, writes, errors in (
                ("judge", to_tests[0], to_program[1], subprocess.PIPE),
                ("program", to_program[0], to_tests[1], subprocess.DEVNULL),
            ):
                command = level.command(role, scratch, limits)
                started.append(
                    subprocess.Popen(
                        command,
                        stdin=reads,
                        stdout=writes,
                        stderr=errors,
                        env=ENVIRONMENT,
                        cwd=scratch,
                        start_new_session=True,
                    )
                )
            tests, own = started
            # The tests' process has its job before the program's has anything to write by.
            job = {"setup": program.setup, "tests": program.tests, "functions": program.all_functions}
            send(to_tests[1], {**job, **level.restrictions("judge", scratch, limits)})
            send(to_program[1], {"source": program.source, **level.restrictions("program", scratch, limits)})
        finally:
            for handle in (*to_program, *to_tests):
                os.close(handle)
        yield own, tests
    finally:
        for process in started:
            process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()


def _watch(own: Process, tests: Process, limits: Limits, scratch: Path) -> str | None:
    """Wait for the tests' end, and return which limit was passed that the kernel does not watch."""
    asleep, before = 0.0, time.monotonic()
    while True:
        try:
            tests.wait(POLL_SECONDS)
            return None
        except subprocess.TimeoutExpired:
            pass
        now = time.monotonic()
        asleep, before = asleep + (now - before) * _are_asleep(own, tests), now
        if asleep > limits.asleep_seconds:
            return f"asleep for more than {limits.asleep_seconds} s"
        if _is_full(scratch, limits):
            return f"more than {limits.file_bytes >> 20} MiB or {MAX_FILES} files in its folder"


def _are_asleep(*processes: Process) -> bool:
    """Whether no thread of these processes and those below them computes or waits for a processor."""
    try:
        for process in processes:
            top = psutil.Process(process.pid)
            for member in (top, *top.children(recursive=True)):
                for thread in member.threads():
                    status = Path(f"/proc/{member.pid}/task/{thread.id}/stat").read_text().rpartition(")")[2].split()[0]
                    if status in "RD":
                        return False
    except (psutil.Error, OSError):
        return False
    return True


def _is_full(scratch: Path, limits: Limits) -> bool:
    total = 0
    with os.scandir(scratch) as entries:
        for count, entry in enumerate(entries, 1):
            with suppress(FileNotFoundError):
                total += entry.stat(follow_symlinks=False).st_size
            if count > MAX_FILES or total > limits.file_bytes:
                return True
    return False


def _ended(own: Process, limits: Limits, reason: str) -> tuple[Outcome, str]:
    """Say why the program's process ended before its tests."""
    status = own.wait()
    # bubblewrap reports signals as shells do.
    if status in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return Outcome.OVER_LIMIT, f"killed by the kernel: more than {limits.cpu_seconds} CPU seconds"
    return Outcome.ENDED, f"{reason} (exit status {status})"
