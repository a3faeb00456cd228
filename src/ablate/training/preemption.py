"""Signals that ask a trial to end: they wait for the step's boundary while it trains."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# What schedulers send before they take a machine away, and what the command line sends when it is interrupted.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class PreemptedError(RuntimeError):
    """The trial was asked to end, and ended where it can go on."""


class Preemption:
    """Whether this process was asked to end.

    Attributes:
        requested: the signal's name; None as long as none came.
    """

    def __init__(self) -> None:
        self.requested: str | None = None
        self._is_deferred = False
        self._is_told = False

    @contextmanager
    def caught(self) -> Iterator["Preemption"]:
        """Catches the signals inside the block; outside of `deferred` the first one raises PreemptedError."""
        handlers = self.take_over()
        try:
            yield self
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def take_over(self) -> dict[signal.Signals, Any]:
        """Sets the handlers (again: Lightning puts its own in their place) and returns those before them."""
        # Only the main thread may, and only there do signals arrive.
        if threading.current_thread() is not threading.main_thread():
            return {}
        return {number: signal.signal(number, self._handle) for number in SIGNALS}

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside the block a signal only sets `requested`."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False

    def check(self) -> None:
        """Raises PreemptedError if a signal came."""
        if self.requested is not None:
            self._is_told = True
            raise PreemptedError(f"ended by {self.requested}")

    def _handle(self, number: int, frame: object) -> None:
        self.requested = signal.Signals(number).name
        # Told once: whoever cleans up must not be ended in the middle of that.
        if not self._is_deferred and not self._is_told:
            self.check()
