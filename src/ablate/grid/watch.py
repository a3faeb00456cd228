"""What is shown while trials run: a bar for each of them, one for all, and a line per trial that ends.

All of it is read from the ledger, so that it is the same whoever runs the trials.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Column

from ablate.console import clock, short
from ablate.errors import LedgerError
from ablate.grid.job import reconcile
from ablate.records.ledger import Ledger
from ablate.records.metrics import TRAINING_LOSS, last_metrics
from ablate.records.trial import Status, TrialRecord

POLL_SECONDS = 0.5


class Watched(Protocol):
    """One trial that is being run."""

    @property
    def label(self) -> str:
        """For people."""

    @property
    def budget_tokens(self) -> int:
        """What it is to be trained on."""


@dataclass
class Watch:
    """Follows trials that are being run.

    Attributes:
        ledger: where they are.
        cells: by id; others may come while it watches.
        console: where it is shown.
        scores: of a trial's record, what it was found to reach; None while that is not known.
        most: how many trials there are to be.
        name: of all of them together.
    """

    ledger: Ledger
    cells: Mapping[str, Watched]
    console: Console
    scores: Callable[[TrialRecord], Mapping[str, float] | None]
    most: int
    name: str
    _progress: Progress = field(init=False)
    _grid: TaskID = field(init=False)
    _bars: dict[str, TaskID] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)
    # Of those that won't go on, what each was trained on.
    _done: dict[str, float] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    # A second of slack, as the ledger may lie on a host whose clock is behind.
    _since: float = field(default_factory=lambda: time.time() - 1)

    def __post_init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=12, table_column=Column(min_width=12)),
            TextColumn("{task.percentage:>3.0f}%", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[detail]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            console=self.console,
            expand=True,
            # A pipe or a CI log gets the lines below and no bars.
            disable=not self.console.is_terminal,
            transient=True,
        )
        self._grid = self._progress.add_task(f"[bold]{self.name}", total=float(self.most), detail="loading …")

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Shows progress while the block runs."""

        def poll() -> None:
            while not self._stop.wait(POLL_SECONDS):
                # A share that hiccups costs a look, never the grid.
                with contextlib.suppress(OSError, LedgerError):
                    self.look()

        thread = threading.Thread(target=poll, name="watch", daemon=True)
        with self._progress:
            thread.start()
            try:
                yield
            except BaseException:
                # Trials that were ended did not fail: the last look, which says so, is left out.
                self._stop.set()
                raise
            finally:
                is_interrupted = self._stop.is_set()
                self._stop.set()
                thread.join()
                if not is_interrupted:
                    with contextlib.suppress(OSError, LedgerError):
                        self.look()

    def say(self, text: str) -> None:
        """A line above the bars."""
        self._progress.console.print(text, highlight=False, soft_wrap=True)

    def look(self) -> None:
        """Brings bars and lines up to date with the ledger."""
        done, tokens, speed = float(len(self._done)), sum(self._done.values()), 0.0
        losses = []
        for trial, cell in list(self.cells.items()):
            if trial in self._done:
                continue
            folder = self.ledger.trial(trial)
            reconcile(folder, interrupted=False)
            record, newest = folder.record(), last_metrics(folder.metrics_path)
            status = record.status
            if status == Status.RUNNING:
                done += float(newest.get("progress", 0.0))
                speed += float(newest.get("speed/train_tokens_per_second", 0.0))
                losses += [float(newest[TRAINING_LOSS])] if TRAINING_LOSS in newest else []
                self._show_running(trial, cell, newest)
            elif status != Status.PENDING and (record.updated_at or 0) >= self._since:
                done += 1
                self._show_ended(trial, cell, record)
                if status != Status.FAILED:
                    self._done[trial] = float(newest.get("data/train_tokens", 0))
            else:
                # What an earlier run left behind says nothing of this one.
                newest = {}
            tokens += float(newest.get("data/train_tokens", 0))
        self._progress.update(self._grid, completed=done, detail=self._grid_detail(done, tokens, speed, losses))

    def _grid_detail(self, done: float, tokens: float, speed: float, losses: list[float]) -> str:
        budgets = [cell.budget_tokens for cell in list(self.cells.values())]
        total = self.most * sum(budgets) / max(1, len(budgets))
        detail = f"{len(self._ended)}/{self.most} trials, {short(tokens)}/{short(total)} tokens"
        if not losses:
            return detail if self._ended else f"{detail}, loading …"
        seconds = time.time() - self._since
        left = f"{clock(seconds * (self.most - done) / done)} left, " if done > 0.05 else ""
        return f"{left}loss {sum(losses) / len(losses):.3f}, {short(speed)} tokens/s, {detail}"

    def _show_running(self, trial: str, cell: Watched, newest: dict[str, Any]) -> None:
        if trial not in self._bars:
            self._bars[trial] = self._progress.add_task(escape(cell.label), total=1.0, detail="starting …")
        # A trial whose first logged row is a validation has no loss yet.
        if TRAINING_LOSS not in newest:
            return
        share, rate = float(newest["progress"]), float(newest["speed/train_tokens_per_second"])
        seconds = float(newest["speed/training_seconds"])
        left = f"{clock(seconds * (1 - share) / share)} left" if share < 1 else "scoring …"
        detail = f"{left}, loss {newest[TRAINING_LOSS]:.3f}, {short(rate)} tokens/s"
        self._progress.update(self._bars[trial], completed=share, detail=detail)

    def _show_ended(self, trial: str, cell: Watched, record: TrialRecord) -> None:
        if trial in self._ended:
            return
        self._ended.add(trial)
        if trial in self._bars:
            self._progress.remove_task(self._bars.pop(trial))
        place = f"{len(self._ended)}/{self.most}"
        found = self.scores(record)
        if found is not None:
            scores = "  ".join(f"{name} {value:.3f}" for name, value in found.items())
            seconds = clock((record.finished_at or 0) - (record.started_at or 0))
            text = f"[green]finished[/]  {place}  {escape(cell.label)}  {scores}  [dim]{seconds}  {trial}[/]"
        else:
            message = escape(record.failure.message if record.failure else "")
            style = "dim" if record.status == Status.PRUNED else "red"
            text = f"[{style}]{record.status:8}[/]  {place}  {escape(cell.label)}  {message}  [dim]{trial}[/]"
        self.say(text)
