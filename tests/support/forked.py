"""Commands in processes of their own that import nothing: children of the tests' fork server, like their trials.

Use `command_line.start` where the command's own server or its process group is the point.
"""

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from ablate.scheduling.processes import start_process, start_server
from tests.support.in_process import COMMANDS, Completed

STREAMS = ("stdout", "stderr")


@dataclass(frozen=True)
class Forked:
    """A command that runs.

    Attributes:
        process: its process, the leader of a process group.
        folder: where its output is.
    """

    process: BaseProcess
    folder: Path

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process.pid is not None
        return self.process.pid

    def printed(self) -> str:
        """What it has printed on standard output so far."""
        return (self.folder / "stdout").read_text()

    def wait(self, seconds: float = 240) -> Completed:
        """Wait until it has ended. Raises TimeoutError."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(f"the command took more than {seconds} s and printed:\n{self.printed()}")
        return Completed(self.process.exitcode, self.printed(), (self.folder / "stderr").read_text())


def fork(
    folder: Path, *words: str, environment: Mapping[str, str] | None = None, packages: Sequence[Path] = ()
) -> Forked:
    """Start `python -m ablate` with these words in a folder.

    Args:
        environment: variables of the command, and not of its trials.
        packages: folders from which the command and its trials import.
    """
    start_server(*COMMANDS)
    output = folder.with_name(f"{folder.name} printed {time.monotonic_ns()}")
    output.mkdir()
    for name in STREAMS:
        (output / name).touch()
    path = [*map(str, packages), *sys.path]
    process = start_process("tests.support.forked:_run", folder, words, dict(environment or {}), path, output)
    return Forked(process, output)


def _run(folder: Path, words: tuple[str, ...], environment: dict[str, str], path: list[str], output: Path) -> None:
    os.setsid()
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        signal.signal(number, handler)
    for descriptor, name in enumerate(STREAMS, start=1):
        os.dup2(os.open(output / name, os.O_WRONLY | os.O_APPEND), descriptor)
    os.chdir(folder)
    os.environ.update(environment)
    sys.path[:] = path
    sys.argv = ["ablate", *words]
    from ablate.__main__ import main

    sys.exit(main())
