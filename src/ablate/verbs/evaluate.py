"""`evaluate`: score finished trials by more suites."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablate.config.parse import trial_from_container, trial_to_container
from ablate.config.trial import TrialConfig
from ablate.console import counted, make_console, say
from ablate.errors import UsageError, nearest
from ablate.evaluation.suite import SUITES, checked_suites, metrics_of, suite_ids
from ablate.grid.command import composed, composed_launcher
from ablate.grid.resolve import with_absolute_files
from ablate.objectives.objective import Objective
from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.trial import TrialRecord
from ablate.scheduling.job import Resources
from ablate.scheduling.launcher import Launcher
from ablate.scheduling.launchers.local import LocalLauncher
from ablate.scheduling.reconcile import as_reconciled, was_finished
from ablate.scheduling.report import report_unfinished
from ablate.scheduling.scheduler import Scheduler
from ablate.scheduling.scoring_source import ScoredTrial, ScoringSource
from ablate.verbs.arguments import Arguments, trials_labelled
from ablate.verbs.table import PROGRAM

SHOWN_METRICS = 3
# Its tasks stand behind its name.
HARNESS = "lm_eval"
OWN = ("suites", "trial", "model", "runs_dir")
# What may change in the config of a trial that was trained.
FREE = ("evaluation.", "hardware")


def main(arguments: Arguments) -> int:
    """Score trials, and print their scores. Returns 1 if a trial could not be scored.

    Raises:
        UsageError: no suite or trial, an unknown one, or parameters that a suite does not take.
    """
    settings = arguments.settings
    suites, tasks = _suites_and_tasks(settings.get("suites", ""))
    names = [*arguments.names, *(name for name in settings.get("trial", "").split(",") if name)]
    if not suites:
        raise arguments.error(f"needs suites=NAME,NAME. Allowed: {', '.join(SUITES)}")
    if not names and "model" not in settings:
        raise arguments.error("takes ids of trials, grids or tunings, or labels of arms")
    for name in suites:
        if name not in SUITES:
            raise UsageError(f"suites={name}: no such suite. {nearest(name, SUITES)}")
    console = make_console()
    launcher = _launcher([f"{key}={value}" for key, value in settings.items() if _names_launcher(key)])
    overrides = {key: value for key, value in settings.items() if key not in OWN and not _names_launcher(key)}
    if tasks:
        overrides["evaluation.suites.lm_eval.tasks"] = f"[{','.join(tasks)}]"
    words = [f"evaluation=[{','.join(suites)}]", *(f"{key}={value}" for key, value in overrides.items())]
    if "model" in settings:
        if names:
            raise arguments.error("takes either model=FOLDER or trials")
        from ablate.verbs.outside_model import imported

        ledger = Ledger(Path(settings.get("runs_dir", arguments.verb.runs_dir)).expanduser().absolute())
        folder, trial = imported(settings["model"], ledger, words, arguments.flags.get("--config-dir"))
        return evaluate(ledger, {folder: trial}, console, launcher)
    for key in overrides:
        if not key.startswith(FREE):
            raise UsageError(f"{key}={overrides[key]}: a trained trial keeps this. Allowed: evaluation.… and hardware…")
    container = composed(words, arguments.flags.get("--config-dir"))
    folders = {folder.trial_id: folder for name in names for folder in trials_labelled(arguments.ledger, name)}
    finished = _finished(folders.values(), console)
    trials = {folder: _with_suites(folder, container, overrides) for folder in finished}
    _tell_of_missing_infill(trials, console)
    return evaluate(arguments.ledger, trials, console, launcher)


def _names_launcher(key: str) -> bool:
    return key.partition(".")[0] == "launcher"


def _launcher(words: Sequence[str]) -> Launcher | None:
    """Return the launcher that the words name, None if there are none. Raises UserError if it cannot be used here."""
    if not words:
        return None
    launcher = composed_launcher(words)
    launcher.check()
    return launcher


def _suites_and_tasks(words: str) -> tuple[list[str], list[str]]:
    """Return the names of suites, and of tasks of lm-evaluation-harness: those after `lm_eval:`."""
    suites, is_harness, tasks = words.partition(f"{HARNESS}:")
    names = [name for name in suites.split(",") if name]
    return [*names, HARNESS] if is_harness else names, [task for task in tasks.split(",") if task]


def evaluate(
    ledger: Ledger, trials: Mapping[TrialFolder, TrialConfig], console: Console, launcher: Launcher | None = None
) -> int:
    """Score trials by the suites of these configs, which have the trials' own ids, and print the scores.

    Args:
        launcher: where they are scored, a job per trial; None for processes of this machine, as many at once as
            `hardware.parallel_trials`.
    """
    ledger.check_writable()
    labels = _labels(ledger)
    scored = [_scored_trial(ledger, folder, trial, labels) for folder, trial in trials.items()]
    names = list(next(iter(trials.values())).evaluation.suites)
    metrics = [name for name, metric in metrics_of(names).items() if not metric.is_reference]
    source = ScoringSource(ledger, scored, metrics[:SHOWN_METRICS])
    if source.total:
        parallel = max(trial.hardware.parallel_trials for trial in trials.values())
        Scheduler(launcher or LocalLauncher(parallel=parallel), console).run(source)
    unfinished = {trial.trial_id: trial.label for trial in scored if not source.is_scored(trial)}
    report_unfinished(unfinished, len(scored), ledger, console)
    _show(ledger, [trial for trial in scored if trial.trial_id not in unfinished], metrics, console)
    return int(bool(unfinished))


def _with_suites(folder: TrialFolder, container_of: Mapping[str, Any], overrides: Mapping[str, str]) -> TrialConfig:
    """Return a trial's config with other suites, and what else the command changes. Raises UsageError."""
    container = folder.frozen()
    container["evaluation"] = container["evaluation"] | {"suites": container_of["evaluation"]["suites"]}
    for key in overrides:
        parts = key.split(".")
        if parts[0] == "evaluation" and len(parts) == 2:
            container["evaluation"][parts[1]] = container_of["evaluation"][parts[1]]
    if any(key.partition(".")[0] == "hardware" for key in overrides):
        container["hardware"] = container_of["hardware"]
    trial = trial_from_container(container)
    checked_suites(trial)
    # A job may start in another folder.
    return replace(trial, evaluation=with_absolute_files(trial.evaluation))


def _finished(folders: Iterable[TrialFolder], console: Console) -> list[TrialFolder]:
    """Return the trials that can be scored, and print why others are left out. Raises UsageError if there are none."""
    finished, reasons = [], []
    for folder in folders:
        record = as_reconciled(folder, folder.record())
        if not was_finished(record):
            reasons.append(f"{folder.trial_id}: is {record.status}, so it is left out")
        elif not folder.model_path.exists():
            reasons.append(f"{folder.trial_id}: its weights were deleted ({folder.model_path}), so it is left out")
        else:
            finished.append(folder)
    if not finished:
        raise UsageError(
            "\n".join([*reasons, f"There is no finished trial with weights. `{PROGRAM} status` shows which are."])
        )
    for reason in reasons:
        say(console, reason)
    return finished


def _tell_of_missing_infill(trials: Mapping[TrialFolder, TrialConfig], console: Console) -> None:
    names = list(next(iter(trials.values())).evaluation.suites)
    needing = [name for name in names if any(metric.needs_infill for metric in SUITES[name].metrics)]
    without = [folder.trial_id for folder, trial in trials.items() if Objective.of(trial).infilling_task is None]
    if needing and without:
        say(
            console,
            f"{', '.join(without)}: not trained to infill, so {', '.join(needing)} "
            f"{'scores' if len(needing) == 1 else 'score'} the text on the left alone.",
        )


def _labels(ledger: Ledger) -> dict[str, str]:
    """Return trial → arm and seed in the newest grid that has it."""
    labels: dict[str, str] = {}
    for grid in ledger.grids([]):
        for arm in grid.arms:
            for seed, trial_id in arm.trials.items():
                labels.setdefault(trial_id, f"{arm.label}, seed {seed}")
    return labels


def _scored_trial(ledger: Ledger, folder: TrialFolder, trial: TrialConfig, labels: Mapping[str, str]) -> ScoredTrial:
    def freeze() -> None:
        ledger.freeze(TrialRecord(folder.trial_id), trial_to_container(trial))

    options = folder.record().options
    label = labels.get(folder.trial_id, options.get("model", folder.trial_id))
    suites = tuple(suite_ids(trial).values())
    return ScoredTrial(folder.trial_id, label, suites, Resources.of(trial.hardware), freeze)


def _show(ledger: Ledger, scored: Sequence[ScoredTrial], metrics: Sequence[str], console: Console) -> None:
    """Print a row per metric and a column per trial; of many trials, a row per trial and metric."""
    if not scored:
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for header in ("trial", "arm", "metric", "score", "conditions"):
        table.add_column(header)
    for trial in scored:
        record = ledger.trial(trial.trial_id).record()
        place = (trial.trial_id, escape(trial.label))
        for suite in trial.suites:
            conditions = record.conditions.get(suite, {})
            shown = ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in conditions.items())
            for name in metrics:
                if name in record.evaluations[suite]:
                    table.add_row(*place, name, f"{record.evaluations[suite][name]:.4f}", shown)
                    place, shown = ("", ""), ""
    console.print(table)
    say(console, f"{counted(len(scored), 'trial')} scored. Arms are compared by the command of their grid, with these")
    say(console, "suites in evaluation=[…] and lesson.primary_metric=METRIC: it scores nothing again.")
