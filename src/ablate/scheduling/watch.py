"""The live display: a bar per running trial, one for all, and a line per trial that ends.

Everything comes from the ledger, so the display is the same under any launcher.
"""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Column

from ablate.console import clock, say, short
from ablate.errors import LedgerError
from ablate.records.ledger import TrialFolder
from ablate.records.metrics import TRAINING_LOSS, last_metrics
from ablate.records.trial import Status, TrialRecord
from ablate.scheduling.source import Shown, TrialSource

LOOK_SECONDS = 0.5
STARTING = "starting processes, importing PyTorch …"
NOT_STARTED = (Status.PENDING, Status.SUBMITTED)


class Watch:
    """Follows the trials of a source."""

    def __init__(self, source: TrialSource, console: Console) -> None:
        self._source = source
        self._bars: dict[str, TaskID] = {}
        self._ended: set[str] = set()
        # Of trials that will not run again: the tokens that they were trained on.
        self._done: dict[str, float] = {}
        self._records: dict[str, tuple[tuple[int, ...], TrialRecord]] = {}
        self._stop = threading.Event()
        # A second of slack: the ledger may lie on a host whose clock is behind.
        self._since = time.time() - 1
        self._progress = Progress(
            SpinnerColumn("dots" if console.encoding.startswith("utf") else "line"),
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(min_width=10, ratio=1)),
            TextColumn("{task.percentage:>3.0f}%", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[detail]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=3)),
            console=console,
            expand=True,
            # A pipe or a CI log gets the lines of ended trials and no bars.
            disable=not console.is_terminal,
            transient=True,
        )
        self._all = self._progress.add_task(f"[bold]{source.noun}", total=float(source.total), detail=STARTING)

    @contextlib.contextmanager
    def watching(self) -> Iterator["Watch"]:
        """Show progress while the block runs."""
        thread = threading.Thread(target=self._keep_looking, name="watch", daemon=True)
        with self._progress:
            thread.start()
            try:
                yield self
            except BaseException:
                # Without a last look: trials that the command has stopped did not fail.
                self._stop.set()
                thread.join()
                raise
            self._stop.set()
            thread.join()
            with contextlib.suppress(OSError, LedgerError):
                self.look()

    def _keep_looking(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            # A network share that fails for a moment costs a look, never the grid.
            with contextlib.suppress(OSError, LedgerError):
                self.look()

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        say(self._progress.console, text, markup=True)

    def look(self) -> None:
        """Bring bars and lines up to date with the ledger."""
        done, tokens, speed = float(len(self._done)), sum(self._done.values()), 0.0
        losses: list[float] = []
        activities: list[str] = []
        for trial_id, shown in list(self._source.shown.items()):
            if trial_id in self._done:
                continue
            folder = self._source.ledger.trial(trial_id)
            record = self._record(folder)
            if record.status == Status.RUNNING:
                # The log of a trial that is scored again says nothing of this.
                newest = {} if record.is_scoring else last_metrics(folder.metrics_path)
                done += float(newest.get("progress", 0.0))
                speed += float(newest.get("speed/train_tokens_per_second", 0.0))
                losses += [float(newest[TRAINING_LOSS])] if TRAINING_LOSS in newest else []
                tokens += float(newest.get("data/train_tokens", 0))
                activities.append(running_detail(newest, record))
                self._show_running(trial_id, shown, newest, record)
            # What an earlier command left says nothing of this one.
            elif record.status not in NOT_STARTED and (record.updated_at or 0.0) >= self._since:
                done += 1
                trained = float(last_metrics(folder.metrics_path).get("data/train_tokens", 0))
                tokens += trained
                self._show_ended(trial_id, shown, record)
                if record.status != Status.FAILED:
                    self._done[trial_id] = trained
        activity = activities[0] if activities else STARTING
        self._progress.update(self._all, completed=done, detail=self._detail(done, tokens, speed, losses, activity))

    def _record(self, folder: TrialFolder) -> TrialRecord:
        """Return a trial's record. Its file is replaced at each change, and read only then."""
        try:
            status = folder.record_path.stat()
        except FileNotFoundError:
            return folder.record()
        stamp = status.st_ino, status.st_mtime_ns, status.st_size
        if folder.trial_id not in self._records or self._records[folder.trial_id][0] != stamp:
            self._records[folder.trial_id] = stamp, folder.record()
        return self._records[folder.trial_id][1]

    def _detail(self, done: float, tokens: float, speed: float, losses: list[float], activity: str) -> str:
        budgets = [shown.budget_tokens for shown in list(self._source.shown.values())]
        budget = sum(budgets) / max(1, len(budgets))
        total = self._source.total
        detail = f"{len(self._ended)}/{total} trials, {short(tokens)}/{short(total * budget)} tokens"
        if not losses:
            return detail if self._ended else f"{activity} {detail}"
        if self._ended:
            # Loading and scoring included.
            seconds = (time.time() - self._since) * (total - done) / done
        else:
            seconds = (total - done) * budget / speed if speed else 0.0
        left = f"{clock(seconds)} left, " if seconds else ""
        return f"{left}loss {sum(losses) / len(losses):.3f}, {short(speed)} tokens/s, {detail}"

    def _show_running(self, trial_id: str, shown: Shown, newest: Mapping[str, Any], record: TrialRecord) -> None:
        if trial_id not in self._bars:
            self._bars[trial_id] = self._progress.add_task(escape(shown.label), total=1.0, detail="starting …")
        progress = float(newest.get("progress", 0.0))
        self._progress.update(self._bars[trial_id], completed=progress, detail=running_detail(newest, record))

    def _show_ended(self, trial_id: str, shown: Shown, record: TrialRecord) -> None:
        if trial_id in self._ended:
            return
        self._ended.add(trial_id)
        if trial_id in self._bars:
            self._progress.remove_task(self._bars.pop(trial_id))
        place = f"{len(self._ended)}/{self._source.total}"
        scores = self._source.scores(record)
        if scores is not None:
            values = "  ".join(f"{name} {value:.3f}" for name, value in scores.items())
            seconds = clock((record.finished_at or 0.0) - (record.started_at or 0.0))
            text = f"[green]finished[/]  {place}  {escape(shown.label)}  {values}  [dim]{seconds}  {trial_id}[/]"
        else:
            message = escape(record.failure.message if record.failure else "")
            style = "dim" if record.status == Status.PRUNED else "red"
            text = f"[{style}]{record.status:8}[/]  {place}  {escape(shown.label)}  {message}  [dim]{trial_id}[/]"
        self.say(text)


def running_detail(newest: Mapping[str, Any], record: TrialRecord) -> str:
    """Return what a running trial does now: a step of loading, time left with loss and speed, or scoring.

    Args:
        newest: the newest value of each metric of its log; any of them may be missing.
    """
    activity = record.attempts[-1].activity if record.attempts else None
    if activity not in (None, "training"):
        return f"{activity} …"
    parts = []
    progress, seconds = newest.get("progress"), newest.get("speed/training_seconds")
    if progress and seconds:
        parts.append(f"{clock(seconds * (1 - progress) / progress)} left")
    if TRAINING_LOSS in newest:
        parts.append(f"loss {newest[TRAINING_LOSS]:.3f}")
    if "speed/train_tokens_per_second" in newest:
        parts.append(f"{short(newest['speed/train_tokens_per_second'])} tokens/s")
    return ", ".join(parts) or f"{activity or 'starting'} …"
