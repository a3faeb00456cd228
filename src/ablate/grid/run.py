"""What the command line does with a planned grid."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Sequence

from hydra.core.utils import JobReturn
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablate.errors import UsageError
from ablate.grid.job import failure_of, settle, settle_unstarted
from ablate.grid.launch import start_server
from ablate.grid.plan import Cell, Plan
from ablate.grid.watch import Watch, short
from ablate.records.ledger import Status

MOST_ROWS = 40
Launch = Callable[[Sequence[Sequence[str]]], Sequence[JobReturn]]


def make_console() -> Console:
    """The terminal; 120 columns where there is none, so that a log is readable."""
    return Console(width=None if sys.stdout.isatty() else 120)


def run(plan: Plan, launch: Launch, console: Console) -> int:
    """Runs what is missing and ends in the lesson.

    Args:
        plan: the checked grid.
        launch: runs one job per list of overrides and returns when all have ended.
        console: what is shown.

    Returns:
        The exit code: 1 if any trial failed or is still missing, or if the arms can't be compared.
    """
    plan.ledger.check_writable()
    missing = plan.missing()
    show_cells(plan, missing, console)
    if missing:
        # It imports while the data is made.
        start_server()
        _prepare_data(missing, console)
    plan.freeze()
    if missing:
        free = {trial: cell for trial, cell in missing.items() if plan.ledger.trial(trial).holder is None}
        _launch(plan, free, launch, console)
    from ablate.lessons.grid_results import GridResults
    from ablate.lessons.report import report

    reported = report(GridResults.load(plan.ledger, plan.ledger.grid_path(plan.grid_id)), console)
    complete = _report_missing(plan, console)
    return 0 if reported and complete else 1


def show_lesson(plan: Plan, console: Console) -> int:
    """The lesson of a grid that was run before."""
    from ablate.lessons.grid_results import GridResults
    from ablate.lessons.report import report

    path = plan.ledger.grid_path(plan.grid_id)
    if not path.exists():
        raise UsageError(
            f"This grid ({plan.grid_id}) was not run below {plan.ledger.runs_dir}. Run it first: {plan.command}"
        )
    return 0 if report(GridResults.load(plan.ledger, path), console) else 1


def show_cells(plan: Plan, missing: dict[str, Cell], console: Console) -> None:
    """The grid as a table: a row per cell, or per arm where the cells are many."""
    total = sum(cell.trial.budget.train_tokens for cell in missing.values())
    shape = f"{_counted(len(plan.arms), 'arm')} × {_counted(plan.declaration['looks'][0], 'seed')}"
    work = f"{len(missing)} to run" + (f" ({short(total)} tokens)" if missing else "")
    console.print(
        f"[bold]Grid {plan.grid_id}[/]: {shape}, {_counted(len(plan.trials), 'trial')}, {work}. "
        f"Ledger: {escape(str(plan.ledger.runs_dir))}",
        highlight=False,
        soft_wrap=True,
    )
    per_cell = len(plan.cells) <= MOST_ROWS
    table = Table(box=None, pad_edge=False, header_style="dim")
    for header in ["arm", "seed", "trial", "state"] if per_cell else ["arm", "trials", "state"]:
        table.add_column(header)
    for arm in plan.arms[:MOST_ROWS]:
        alias = f"[dim]same trial as {escape(arm['same_as'])}[/]" if arm["same_as"] else ""
        if per_cell:
            for seed, trial in arm["trials"].items():
                table.add_row(escape(arm["label"]), seed, trial, alias or _state(plan, trial, missing))
        else:
            to_run = sum(trial in missing for trial in arm["trials"].values())
            table.add_row(
                escape(arm["label"]), str(len(arm["trials"])), alias or (f"{to_run} to run" if to_run else "done")
            )
    console.print(table)
    if len(plan.arms) > MOST_ROWS:
        console.print(f"… and {len(plan.arms) - MOST_ROWS} more arms")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _state(plan: Plan, trial: str, missing: dict[str, Cell]) -> str:
    status = plan.ledger.trial(trial).status
    if trial not in missing:
        return f"[green]{status}[/]"
    if status == Status.FINISHED:
        return "trained; to score"
    return "[red]failed before; to run[/]" if status == Status.FAILED else "to run"


def _prepare_data(missing: dict[str, Cell], console: Console) -> None:
    """Makes the token shards once, before trials that run side by side would each make them."""
    from ablate.data.shards import open_shards, shard_folder

    for trial in {shard_folder(cell.trial): cell.trial for cell in missing.values()}.values():
        if not shard_folder(trial).is_dir():
            with console.status("Reading the corpus, training the tokenizer, writing token shards …"):
                if not console.is_terminal:
                    console.print("Reading the corpus, training the tokenizer, writing token shards …")
                open_shards(trial)


def quoted(value: str) -> str:
    """A value as Hydra's override grammar takes it, whatever stands in it."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _launch(plan: Plan, missing: dict[str, Cell], launch: Launch, console: Console) -> None:
    jobs = [[f"trial_id={trial}", f"runs_dir={quoted(str(plan.ledger.runs_dir))}"] for trial in missing]
    try:
        watch = Watch(plan, missing, console)
        with _ended_by_signals(watch.quit), watch.watching():
            ended = launch(jobs)
    except KeyboardInterrupt:
        for trial in missing:
            settle(plan.ledger.trial(trial), interrupted=True)
        done = sum(plan.is_done(trial) for trial in plan.trials)
        console.print(
            f"\n[bold]Interrupted.[/] {done} of {len(plan.trials)} trials are finished and kept; the same command runs "
            "the others."
        )
        raise
    for trial, one in zip(missing, ended, strict=True):
        settle(plan.ledger.trial(trial), interrupted=False)
        settle_unstarted(plan.ledger.trial(trial), plan.evaluation_id, str(one._return_value))


@contextlib.contextmanager
def _ended_by_signals(before: Callable[[], None]) -> Iterator[None]:
    """`kill`, `timeout` and a closed terminal end a grid as Ctrl-C does: its trials end with it.

    Args:
        before: called first.
    """

    def interrupt(number: int, frame: object) -> None:
        before()
        raise KeyboardInterrupt

    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.signal(number, interrupt) for number in ends}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _report_missing(plan: Plan, console: Console) -> bool:
    """Tells of every trial that is not done; whether there is none."""
    missing = plan.missing()
    elsewhere = [trial for trial in missing if plan.ledger.trial(trial).holder is not None]
    failed = {trial: cell for trial, cell in missing.items() if trial not in elsewhere}
    told: dict[str, str] = {}
    for trial, cell in failed.items():
        failure = failure_of(plan.ledger.trial(trial))
        console.print(f"\n[bold red]Failed:[/] {escape(cell.label)}  [dim]{trial}[/]", highlight=False)
        if failure.message in told:
            console.print(f"    as {told[failure.message]}; log: {failure.log_path}", markup=False, soft_wrap=True)
            continue
        told[failure.message] = cell.label
        console.print(failure.text, markup=False, highlight=False, soft_wrap=True)
    if failed:
        console.print(f"\n{len(failed)} of {len(plan.trials)} trials failed; the same command runs them again.")
    if elsewhere:
        console.print(
            f"\nRun by another process: {', '.join(elsewhere)}. When it is done, the same command shows the lesson."
        )
    return not missing
