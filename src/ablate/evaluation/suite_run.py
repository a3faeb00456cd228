"""One scoring of a model by a suite: where it keeps work that must not be done twice, and how it reports progress."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ablate.console import clock

REPORT_SECONDS = 2.0


def say_nothing(text: str) -> None:
    """Drop a report."""


@dataclass(frozen=True)
class SuiteRun:
    """One scoring of a model by a suite.

    Attributes:
        stem: the path, without a suffix, of files that a killed run continues from; None to keep nothing.
        report: takes a line about progress.
        conditions: what the scores are taken under, such as the sandbox; the suite adds to it.
    """

    stem: Path | None = None
    report: Callable[[str], None] = say_nothing
    conditions: dict[str, str] = field(default_factory=dict)

    def path(self, suffix: str) -> Path | None:
        """Return the path of one of its files."""
        return None if self.stem is None else self.stem.with_name(f"{self.stem.name}{suffix}")


class Progress:
    """Reports how many of some things are done, and the time left, every few seconds.

    Args:
        noun: what is counted, as the report names it.
        total: how many there are.
        done: how many an earlier run did.
    """

    def __init__(self, run: SuiteRun, noun: str, total: int, done: int = 0) -> None:
        self._run, self._noun, self._total, self._done, self._first = run, noun, total, done, done
        self._started = self._reported = time.monotonic()
        self._say("")

    def advance(self) -> None:
        """Count one more."""
        self._done += 1
        now = time.monotonic()
        if now - self._reported >= REPORT_SECONDS:
            self._reported = now
            seconds = (now - self._started) * (self._total - self._done) / (self._done - self._first)
            self._say(f", {clock(seconds)} left")

    def _say(self, left: str) -> None:
        self._run.report(f"{self._noun}: {self._done:,} of {self._total:,}{left}")
