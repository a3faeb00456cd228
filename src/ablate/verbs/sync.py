"""`sync`: upload trials to W&B, each as one run, however often it was interrupted."""

from ablate.config.parse import trial_from_container
from ablate.console import counted, make_console, say
from ablate.errors import UsageError, UserError
from ablate.records.ledger import TrialFolder
from ablate.records.metrics import read_metrics
from ablate.records.trial import Status, TrialRecord
from ablate.records.wandb.login import has_login
from ablate.records.wandb.upload import Run, upload
from ablate.scheduling.mirrors import outcome
from ablate.scheduling.reconcile import as_reconciled
from ablate.scheduling.run_description import describe_run
from ablate.verbs.arguments import Arguments, trials_named

ENDED = (Status.FINISHED, Status.FAILED, Status.DIVERGED, Status.PRUNED)


def main(arguments: Arguments) -> int:
    """Upload the trials of these names, or of the whole ledger. Returns 1 if W&B did not take all of them.

    Raises:
        UsageError: an unknown name, or nobody is logged in.
    """
    ledger, console = arguments.ledger, make_console()
    named = [folder for name in arguments.names for folder in trials_named(ledger, name)]
    folders = {folder.trial_id: folder for folder in (named if arguments.names else ledger.trials())}
    if not has_login():
        raise UsageError("sync: nobody is logged in to W&B here. Type `wandb login`, then the same command again.")
    runs = []
    for folder in folders.values():
        run = _run(folder, arguments.settings.get("project"))
        if isinstance(run, str):
            say(console, f"{folder.trial_id}: skipped, {run}")
        else:
            runs.append(run)
    uploaded = 0
    for ended in upload(runs):
        name = f"{ended.run.trial_id}: {ended.run.description.name}"
        if ended.problem is None:
            uploaded += 1
            say(console, f"{name}: {counted(ended.rows, 'new step')}, {ended.url}")
        else:
            say(console, f"{name}: not uploaded. {ended.problem}")
    missing = len(runs) - uploaded
    say(console, f"{counted(uploaded, 'run')} uploaded" + (f", {missing} not. Try again." if missing else "."))
    return 1 if missing else 0


def _run(folder: TrialFolder, project: str | None) -> Run | str:
    """Return the run of a trial, or why it has none to upload."""
    record = folder.record_or_problem()
    if not isinstance(record, TrialRecord):
        return record
    record = as_reconciled(folder, record)
    if folder.is_locked or record.status not in ENDED:
        return f"it is {record.status}; upload it when it has ended"
    try:
        trial = trial_from_container(folder.frozen())
    except UserError as error:
        return f"this version of ablate cannot read its configuration ({str(error).splitlines()[0]})"
    rows = [
        (row["step"], {name: value for name, value in row.items() if name != "step"})
        for row in read_metrics(folder.metrics_path)
    ]
    scores, summary = outcome(record, record.status)
    place = project or trial.tracking.project
    return Run(folder.trial_id, place, describe_run(folder, trial), [*rows, *scores], summary)
