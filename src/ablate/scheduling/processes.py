"""Processes forked from a server that has paid the imports, and the signals that end them.

`multiprocessing`'s fork server is a process with one thread: it imports what is heavy once, then forks a child per
job. Supervisors are its children, and so are their workers and the loaders of these.
"""

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], object] | signal.Handlers

PRELOADED = ["ablate.training.worker", "ablate.scheduling.supervisor"]
# Whether this process was forked from a server and forks its children from the same one.
_shares_server = False
SHIELDED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


def start_server(*modules: str) -> None:
    """Start the server in the background, unless it runs. It imports, also `modules`, while the caller goes on.

    It lives in the terminal's process group and must outlive the signals that are sent to that: without it nobody
    would know whether a trial still saves. What is ignored here stays ignored in the server, and in its children until
    they decide otherwise.
    """
    if _shares_server:
        return
    multiprocessing.get_context("forkserver").set_forkserver_preload([*PRELOADED, *modules])
    with handling(SHIELDED, signal.SIG_IGN):
        forkserver.ensure_running()


def start_process(function: str, *arguments: Any, output: Path | None = None) -> BaseProcess:
    """Start a function in a process of its own.

    Args:
        function: `package.module:name`; a name, so that the caller need not import what is heavy.
        output: the file that the process appends its output to.
    """
    process = multiprocessing.get_context("forkserver").Process(target=_enter, args=(function, arguments, output))
    process.start()
    return process


def _enter(function: str, arguments: tuple[Any, ...], output: Path | None) -> None:
    # What the server imported lives as long as this process. Searching it for garbage would also copy its memory.
    gc.freeze()
    _share_server()
    # Ctrl-C and a closed terminal reach the whole process group; the parent decides what they mean for this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    if output is not None:
        redirect_output(output)
    module, _, name = function.partition(":")
    getattr(import_module(module), name)(*arguments)


def _share_server() -> None:
    """Let children of this process come from the server that this process was forked from.

    CPython documents that they do, but its `ensure_running` starts a second server, which imports everything again.
    """
    global _shares_server
    server: Any = forkserver._forkserver
    is_authorised = getattr(server, "_forkserver_authkey", True) is not None
    if server._forkserver_pid is None and server._forkserver_address is not None and is_authorised:
        server.ensure_running = lambda: None
        _shares_server = True


def redirect_output(path: Path) -> None:
    """Append what this process prints to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())


@contextlib.contextmanager
def handling(numbers: Iterable[signal.Signals], handler: Handler) -> Iterator[None]:
    """Set the handler of these signals inside the block."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


class Interrupts:
    """Counts the signals that end a command, so that it ends at a moment of its own choice.

    Attributes:
        count: how many arrived.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.count = 0

    @classmethod
    def heard(cls) -> list[signal.Signals]:
        """Return the signals that are not ignored, as SIGHUP is under nohup."""
        return [number for number in cls.SIGNALS if signal.getsignal(number) != signal.SIG_IGN]

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Inside the block the signals are counted and do nothing else."""
        with handling(self.heard(), self._count):
            yield

    def _count(self, number: int, frame: object) -> None:
        self.count += 1


def raise_interrupt(number: int, frame: object) -> None:
    """Handle a signal as Ctrl-C."""
    raise KeyboardInterrupt
