"""The mirrors that a trial's configuration asks for, and what they are told at its end."""

from typing import Any

from ablate.config.trial import TrialConfig
from ablate.records.ledger import TrialFolder
from ablate.records.lightning_mirror import LightningMirror
from ablate.records.mirror import Mirror
from ablate.records.schema import to_json
from ablate.records.trial import Status, TrialRecord
from ablate.records.wandb.writer import WandbWriter
from ablate.scheduling.run_description import describe_run

Rows = list[tuple[int, dict[str, Any]]]


def mirrors_of(folder: TrialFolder, trial: TrialConfig) -> list[Mirror]:
    """Open the mirrors of `tracking`."""
    mirrors: list[Mirror] = [LightningMirror(name, folder.path) for name in trial.tracking.loggers]
    if trial.tracking.wandb != "disabled":
        mirrors.append(
            WandbWriter(
                mode=trial.tracking.wandb,
                project=trial.tracking.project,
                folder=folder.path,
                trial_id=folder.trial_id,
                description=describe_run(folder, trial),
            )
        )
    return mirrors


def outcome(record: TrialRecord, status: Status) -> tuple[Rows, dict[str, Any]]:
    """Return the rows of a trial's scores, at its last step, and the summary of its run."""
    summary: dict[str, Any] = {"status": status.value}
    if record.evaluations:
        summary["evaluations"] = to_json(record.evaluations)
    if status == Status.FINISHED and record.result is not None:
        summary |= to_json(record.result)
    scores = {f"test/{name}": value for name, value in record.scores(record.evaluations).items()}
    rows = [(record.result.counters.steps, scores)] if record.result is not None and scores else []
    # The scores too: a resumed run drops rows at steps that it has.
    return rows, {**scores, **{f"ablate/{name}": value for name, value in summary.items()}}
