"""Signals that ask a trial to stop. While it trains, they wait for the step's boundary."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# What cluster schedulers send before they take a machine away, and what the command line sends when it is interrupted.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class PreemptedError(Exception):
    """The trial was asked to stop, and stopped where it can resume."""


class Preemption:
    """Whether this process was asked to stop.

    Attributes:
        requested: the signal's name; None until one arrives.
        is_deferred: whether a signal only sets `requested`.
    """

    def __init__(self) -> None:
        self.requested: str | None = None
        self.is_deferred = False
        self._was_raised = False

    @contextmanager
    def caught(self) -> Iterator["Preemption"]:
        """Catch the signals inside the block; outside of `deferred` the first one raises PreemptedError."""
        handlers = self.install()
        try:
            yield self
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def install(self) -> dict[signal.Signals, Any]:
        """Set the handlers (again, after Lightning has set its own) and return the previous ones."""
        # Only the main thread may, and only there do signals arrive.
        if threading.current_thread() is not threading.main_thread():
            return {}
        return {number: signal.signal(number, self._handle) for number in SIGNALS}

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside the block a signal only sets `requested`."""
        before, self.is_deferred = self.is_deferred, True
        try:
            yield
        finally:
            self.is_deferred = before

    def check(self) -> None:
        """Raise PreemptedError if a signal arrived and none was raised for it."""
        if self.requested is not None and not self._was_raised:
            self._was_raised = True
            raise PreemptedError(f"stopped by {self.requested}")

    def _handle(self, number: int, frame: object) -> None:
        self.requested = signal.Signals(number).name
        # Raised once: cleaning up must not be interrupted.
        if not self.is_deferred:
            self.check()
