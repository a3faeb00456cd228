"""Run a tuning: tune every arm, then run the grid of the tuned arms."""

import contextlib
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablate.console import counted, say, short
from ablate.errors import UsageError
from ablate.grid.grid import Grid
from ablate.grid.run import prepare_data
from ablate.records.lease import Lease
from ablate.records.ledger import Ledger
from ablate.records.metrics import last_metrics
from ablate.records.optuna.storage import open_storage, storage_errors
from ablate.records.optuna.studies import first_ended, studies_of
from ablate.records.tuning import TuningCost, texts
from ablate.scheduling.launcher import Launcher
from ablate.scheduling.processes import start_server
from ablate.scheduling.report import report_unfinished
from ablate.scheduling.scheduler import Scheduler
from ablate.tuning.source import TuningSource
from ablate.tuning.study import ArmStudy
from ablate.tuning.tuning import Tuning

# Rows of an arm's Pareto front that are printed.
MOST_ROWS = 20


def run(tuning: Tuning, launcher: Launcher, run_grid: Callable[[Grid], int], console: Console) -> int:
    """Tune the arms that are not tuned yet, show the best candidates, and run the grid of the tuned arms.

    Args:
        tuning: a checked tuning.
        launcher: runs the candidates.
        run_grid: runs a grid and prints its lesson.
        console: the terminal.

    Returns:
        The exit code: 1 if a trial failed or the arms cannot be compared.

    Raises:
        UsageError: a study that belongs to another space or arm.
        LedgerError: a ledger or storage that cannot be used.
    """
    tuning.ledger.check_writable()
    studies = tuning.studies(open_storage(tuning.storage))
    tuning.record()
    if len({study.name for study in studies.values()}) < len(studies):
        raise UsageError("Two arms of this tuning share a study. Leave hydra.sweeper.study null.")
    _show_plan(tuning, {label: study.ended for label, study in studies.items()}, console)
    if not all(study.is_spent and not study.trials(TrialState.RUNNING) for study in studies.values()):
        start_server("optuna")
        prepare_data(
            [
                point.under(search.seeds).trial
                for search in tuning.searches.values()
                for point in tuning.corners[search.arm.label]
            ],
            console,
        )
        with owner(tuning.ledger) as name, storage_errors(tuning.storage):
            source = TuningSource(tuning, studies, name, console)
            Scheduler(launcher, console).run(source)
        labels = {trial_id: candidate.label for trial_id, candidate in source.failed.items()}
        report_unfinished(labels, source.total, tuning.ledger, console)
        if labels:
            return 1
    _show_best(tuning, studies, console)
    if len(tuning.metrics) > 1:
        return 0
    return run_grid(tuned_grid(tuning, studies))


def preview(tuning: Tuning, console: Console) -> None:
    """Print the arms, their studies and how many candidates are left. Write nothing."""
    _show_plan(tuning, ended_candidates(tuning), console)


def ended_candidates(tuning: Tuning) -> dict[str, int]:
    """Return label → how many candidates of the arm's study have ended. Creates no study."""
    path = tuning.ledger.tuning_path(tuning.tuning_id)
    studies = studies_of(tuning.ledger.tuning(tuning.tuning_id), tuning.ledger.runs_dir) if path.exists() else {}
    ended = {label: len(first_ended(study, tuning.n_trials)) for label, study in studies.items()}
    return {label: ended.get(label, 0) for label in tuning.names}


def tuned_grid(tuning: Tuning, studies: Mapping[str, ArmStudy]) -> Grid:
    """Return the grid of the tuned arms.

    Raises:
        UsageError: an arm is not tuned yet, or several metrics leave no single best trial.
    """
    if len(tuning.metrics) > 1:
        raise UsageError(
            f"This tuning has several metrics ({', '.join(tuning.metrics)}), so there is no single best trial and no "
            "lesson. To see its Pareto front, type: python -m ablate lessons --html"
        )
    chosen: dict[str, FrozenTrial] = {}
    for label, study in studies.items():
        best = study.best
        if best is None or study.ended < study.n_trials:
            raise UsageError(
                f"The arm {label} is not tuned yet: {study.ended} of {study.n_trials} candidates have ended"
                + (", and none of them was trained to the end. " if study.ended and best is None else ". ")
                + f"Continue with: {tuning.command}"
            )
        chosen[label] = best
    return tuning.tuned_grid(chosen, {label: _cost(tuning.ledger, study) for label, study in studies.items()})


def recorded_grid(tuning: Tuning) -> Grid:
    """Return the grid of the tuned arms of a tuning that was run before. Raises UsageError like `tuned_grid`."""
    if not tuning.ledger.tuning_path(tuning.tuning_id).exists():
        raise UsageError(
            f"This tuning ({tuning.tuning_id}) was not run in {tuning.ledger.runs_dir}. Run it: {tuning.command}"
        )
    return tuned_grid(tuning, tuning.studies(open_storage(tuning.storage)))


@contextlib.contextmanager
def owner(ledger: Ledger) -> Iterator[str]:
    """Hold a lease inside the block. Other commands see by it that the candidates under its name are being run."""
    name = uuid.uuid4().hex[:12]
    folder = ledger.owner_folder(name)
    folder.mkdir(parents=True)
    try:
        with Lease(folder):
            yield name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _show_plan(tuning: Tuning, ended: Mapping[str, int], console: Console) -> None:
    left = sum(max(0, tuning.n_trials - count) for count in ended.values())
    repeats = tuning.config.tune_replicates
    tunings = f"{counted(repeats, 'tuning')} × " if repeats > 1 else ""
    say(
        console,
        f"[bold]Tuning {tuning.tuning_id}[/]: {counted(len(tuning.expanded.arms), 'arm')} × {tunings}"
        f"{counted(tuning.n_trials, 'candidate')} of "
        f"{escape(', '.join(dimension.key for dimension in tuning.space.dimensions))} by "
        f"{escape(', '.join(tuning.metrics))} on the validation split, {left} to come. "
        f"Ledger: {escape(str(tuning.ledger.runs_dir))}",
        markup=True,
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    for header in ("arm", "study", "candidates"):
        table.add_column(header)
    for label, count in ended.items():
        table.add_row(escape(label), escape(tuning.names[label]), f"{count}/{tuning.n_trials}")
    console.print(table)


def _cost(ledger: Ledger, study: ArmStudy) -> TuningCost:
    """Return what a study cost: numbers of trials by how they ended, and the train tokens that they read."""
    tokens = 0.0
    for trial_id in {trial.user_attrs["trial_id"] for trial in study.trials() if "trial_id" in trial.user_attrs}:
        folder = ledger.trial(trial_id)
        result = folder.record().result
        newest = last_metrics(folder.metrics_path)
        tokens += result.counters.train_tokens if result else newest.get("data/train_tokens", 0)
    ended, pruned, failed = (
        len(study.trials(state)) for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    )
    return TuningCost(ended, pruned, failed, tokens)


def _show_best(tuning: Tuning, studies: Mapping[str, ArmStudy], console: Console) -> None:
    """Print the best candidate of each arm; of several metrics, each arm's Pareto front."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    keys = list(dict.fromkeys(key for dimension in tuning.space.dimensions for key in dimension.keys))
    for header in ("arm", *keys, *tuning.metrics, "trial", "trained", "pruned", "failed", "tokens"):
        is_number = header not in ("arm", "trial", *keys)
        table.add_column(header, justify="right" if is_number else "left", overflow="fold")
    for label, study in studies.items():
        cost = _cost(tuning.ledger, study)
        best = study.study.best_trials if study.trials(TrialState.COMPLETE) else []
        for place, trial in enumerate(sorted(best, key=lambda trial: trial.values)[:MOST_ROWS]):
            values = texts(trial.user_attrs["values"])
            costs = [str(cost.ended), str(cost.pruned), str(cost.failed), short(cost.train_tokens)]
            table.add_row(
                escape(label if place == 0 else ""),
                *(values.get(key, "") for key in keys),
                *(f"{value:.4g}" if abs(value) >= 1000 else f"{value:.4f}" for value in trial.values),
                trial.user_attrs["trial_id"],
                *(costs if place == 0 else [""] * len(costs)),
            )
        if len(best) > MOST_ROWS:
            table.add_row("", f"… and {len(best) - MOST_ROWS} more")
    console.print(
        "\n[bold]Tuned[/], on the validation split" + ("" if len(tuning.metrics) == 1 else ": the Pareto fronts")
    )
    console.print(table)
