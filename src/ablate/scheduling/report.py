"""What a command prints about trials that failed or ended early."""

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape

from ablate.console import say
from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.trial import Status


def report_unfinished(labels: Mapping[str, str], total: int, ledger: Ledger, console: Console) -> None:
    """Print why each of these trials did not finish; a repeated failure is printed once.

    Args:
        labels: by trial id.
        total: how many trials there were.
    """
    first_with: dict[str, str] = {}
    for trial_id, label in labels.items():
        folder = ledger.trial(trial_id)
        failure = folder.record().failure
        if folder.status == Status.PENDING:
            console.print(f"\n[bold]Ended early:[/] {escape(label)}  [dim]{trial_id}[/]  {resume_text(folder)}")
            continue
        message = failure.message if failure else "no error was recorded"
        console.print(f"\n[bold red]Failed:[/] {escape(label)}  [dim]{trial_id}[/]", highlight=False)
        if message in first_with:
            text = f"    as {first_with[message]}; log: {folder.log_path}"
        else:
            first_with[message] = label
            lines = (failure.traceback if failure else message).strip().splitlines()[-4:]
            text = "\n".join([*(f"    {line}" for line in lines), f"    log: {folder.log_path}"])
        say(console, text)
    if labels:
        console.print(f"\n{len(labels)} of {total} trials failed or ended early; the same command continues them.")


def resume_text(folder: TrialFolder) -> str:
    """Return where a trial would start: to score, from a checkpoint, or from the beginning."""
    if folder.is_trained:
        return "trained; to score"
    step = folder.checkpoints.newest_step
    return "to run" if step is None else f"to run from step {step:,}"
