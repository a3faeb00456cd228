"""What the command line does with a planned grid."""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn, JobStatus
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablate.config.trial import TrialConfig
from ablate.console import counted, short
from ablate.grid.cell import Cell
from ablate.grid.job import failure_of, failure_text, reconcile, reconcile_unstarted
from ablate.grid.launch import Interrupts, handling, start_server
from ablate.grid.plan import Plan
from ablate.grid.watch import POLL_SECONDS, Watch
from ablate.records.ledger import TrialFolder
from ablate.records.trial import Status

if TYPE_CHECKING:
    from ablate.lessons.lesson import Lesson

MOST_ROWS = 40
Launch = Callable[[Sequence[Sequence[str]]], Sequence[JobReturn]]


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
    # What an earlier command looked at and went on from is not looked at again.
    for seeds in [look for look in plan.looks if look >= plan.recorded_seeds()]:
        at_look = plan.at(seeds)
        complete = _run_look(at_look, launch, console)
        found = _report(at_look, console)
        if found is None or not complete:
            return 1
        plan.record_look(found.look())
        if found.is_decided or seeds == plan.looks[-1]:
            break
        console.print(
            f"\n[bold]Look at {seeds} seeds:[/] not every word is in, so each arm gets more seeds.", highlight=False
        )
    return 0


def _run_look(plan: Plan, launch: Launch, console: Console) -> bool:
    """Runs what this look is missing; whether nothing is missing then."""
    missing = plan.missing()
    show_cells(plan, missing, console)
    if missing:
        # It imports while the data is made.
        start_server()
        prepare_data([cell.trial for cell in missing.values()], console)
    plan.freeze(missing)
    if not missing:
        return True
    _run_missing(plan, missing, launch, console)
    return _report_missing(plan, console)


def _report(plan: Plan, console: Console) -> "Lesson | None":
    from ablate.grid.stale import stale_trials
    from ablate.lessons.grid_results import GridResults
    from ablate.records.ledger_logs import LedgerLogs
    from ablate.reports.report import report

    results = GridResults(LedgerLogs(plan.ledger), plan.ledger.grid(plan.grid_id))
    return report(results, plan.ledger.lesson_folder(plan.grid_id), console, stale_trials(results))


def show_cells(plan: Plan, missing: dict[str, Cell], console: Console) -> None:
    """The grid as a table: a row per cell, or per arm where the cells are many."""
    total = sum(cell.trial.budget.train_tokens for cell in missing.values())
    shape = f"{counted(len(plan.arms), 'arm')} × {counted(plan.seeds, 'seed')}"
    work = f"{len(missing)} to run" + (f" ({short(total)} tokens)" if missing else "")
    console.print(
        f"[bold]Grid {plan.grid_id}[/]: {shape}, {counted(len(plan.trials), 'trial')}, {work}. "
        f"Ledger: {escape(str(plan.ledger.runs_dir))}",
        highlight=False,
        soft_wrap=True,
    )
    per_cell = len(plan.asked) <= MOST_ROWS
    table = Table(box=None, pad_edge=False, header_style="dim")
    for header in ["arm", "seed", "trial", "state"] if per_cell else ["arm", "trials", "state"]:
        table.add_column(header)
    for arm in plan.arms[:MOST_ROWS]:
        alias = f"[dim]same trial as {escape(arm.same_as)}[/]" if arm.same_as else ""
        if per_cell:
            for seed, trial in arm.trials.items():
                table.add_row(escape(arm.label), seed, trial, alias or _state(plan, trial, missing))
        else:
            to_run = sum(trial in missing for trial in arm.trials.values())
            table.add_row(escape(arm.label), str(len(arm.trials)), alias or (f"{to_run} to run" if to_run else "done"))
    console.print(table)
    if len(plan.arms) > MOST_ROWS:
        console.print(f"… and {len(plan.arms) - MOST_ROWS} more arms")


def _state(plan: Plan, trial: str, missing: dict[str, Cell]) -> str:
    folder = plan.ledger.trial(trial)
    status = folder.status
    if trial not in missing:
        return f"[green]{status}[/]"
    if folder.is_locked:
        return "run by another process"
    return f"[red]failed before; {_place(folder)}[/]" if status == Status.FAILED else _place(folder)


def _place(folder: TrialFolder) -> str:
    if folder.is_trained:
        return "trained; to score"
    step = folder.checkpoints.newest_step
    return "to run" if step is None else f"to run from step {step:,}"


def prepare_data(trials: Iterable[TrialConfig], console: Console) -> None:
    """Makes the token shards once, before trials that run side by side would each make them.

    Raises:
        UsageError: a budget that its text does not allow, before a trial starts.
        FailureError: data that can't be made or read.
    """
    from ablate.data.batches.stream import Stream
    from ablate.data.corpus.progress import shown_progress
    from ablate.data.tokens.shards import open_shards, shard_folder

    def reads(trial: TrialConfig) -> object:
        return shard_folder(trial), repr(trial.mixture), trial.budget_rows, trial.scale.window_tokens, trial.data_seed

    for trial in {reads(trial): trial for trial in trials}.values():
        if not shard_folder(trial).is_dir():
            console.print("Reading the corpus, training the tokenizer, writing token shards …")
        with shown_progress() as progress:
            shards = open_shards(trial, progress)
        Stream(shards, trial)


def quoted(value: str) -> str:
    """A value as Hydra's override grammar takes it, whatever stands in it."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _run_missing(plan: Plan, missing: dict[str, Cell], launch: Launch, console: Console) -> None:
    """Runs each missing trial once; those that other processes run are waited for, and run if those processes die."""
    tried: set[str] = set()
    watch = Watch(plan.ledger, missing, console, plan.scores, len(missing), "grid")
    told_of_waiting = False
    try:
        with handling(Interrupts.heard(), interrupt), watch.watching():
            while True:
                held = {trial: plan.ledger.trial(trial).is_locked for trial in plan.missing()}
                # What failed here and was taken up by another is waited for, and not tried again.
                left = [trial for trial in held if held[trial] or trial not in tried]
                if not left:
                    break
                free = [trial for trial in left if not held[trial]]
                if free:
                    tried |= _launch(plan, free, launch)
                    continue
                if not told_of_waiting:
                    watch.say(f"Waiting for {counted(len(left), 'trial')} that other processes run …")
                    told_of_waiting = True
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        for trial in missing:
            reconcile(plan.ledger.trial(trial), interrupted=True)
        done = sum(plan.is_done(trial) for trial in plan.trials)
        console.print(
            f"\n[bold]Interrupted.[/] {done} of {len(plan.trials)} trials are finished and kept; the same command goes "
            "on with the others."
        )
        raise


def job_overrides(trial: str, runs_dir: Path, **candidate: str | int) -> list[str]:
    """What a job is told: quoted, as 22292e012950 is a trial and would be read as a number.

    Args:
        trial: its id.
        runs_dir: the ledger's.
        candidate: of which study it is one; see `Candidate`.
    """
    told = [f"trial_id={quoted(trial)}", f"runs_dir={quoted(str(runs_dir))}"]
    if candidate:
        parts = [f"{key}:{quoted(value) if isinstance(value, str) else value}" for key, value in candidate.items()]
        told.append(f"candidate={{{','.join(parts)}}}")
    return told


def _launch(plan: Plan, trials: list[str], launch: Launch) -> set[str]:
    """Launches a batch; which of its trials ended without being done."""
    failed = set()
    # Again, as a grid beside this one may have frozen them for another evaluation.
    plan.freeze_trials(trials)
    jobs = [job_overrides(trial, plan.ledger.runs_dir) for trial in trials]
    for trial, one in zip(trials, launch(jobs), strict=True):
        reconcile(plan.ledger.trial(trial), interrupted=False)
        if one.status != JobStatus.COMPLETED:
            reconcile_unstarted(plan.ledger.trial(trial), plan.evaluation_id, str(one._return_value))
            failed.add(trial)
    return failed


def interrupt(number: int, frame: object) -> None:
    """`kill`, `timeout` and a closed terminal end a grid as Ctrl-C does: its trials end with it."""
    raise KeyboardInterrupt


def _report_missing(plan: Plan, console: Console) -> bool:
    """Tells of every trial that is not done; whether there is none."""
    missing = plan.missing()
    told: dict[str, str] = {}
    for trial, cell in missing.items():
        folder = plan.ledger.trial(trial)
        if folder.status == Status.PENDING:
            console.print(f"\n[bold]Ended early:[/] {escape(cell.label)}  [dim]{trial}[/]  {_place(folder)}")
            continue
        failure = failure_of(folder)
        console.print(f"\n[bold red]Failed:[/] {escape(cell.label)}  [dim]{trial}[/]", highlight=False)
        if failure.message in told:
            console.print(f"    as {told[failure.message]}; log: {folder.log_path}", markup=False, soft_wrap=True)
            continue
        told[failure.message] = cell.label
        console.print(failure_text(folder), markup=False, highlight=False, soft_wrap=True)
    if missing:
        console.print(
            f"\n{len(missing)} of {len(plan.trials)} trials failed or ended early; the same command goes on with them."
        )
    return not missing
