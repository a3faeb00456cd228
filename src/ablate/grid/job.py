"""The task function: one frozen trial, in its own process. Importable by name, as Hydra's launchers need it."""

import contextlib
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.config import TrialConfig
from ablate.errors import UsageError
from ablate.identity import evaluation_id, semantic, trial_id
from ablate.parsing import trial_from_container
from ablate.records.lease import HeldElsewhereError
from ablate.records.ledger import Ledger, Status, TrialFolder
from ablate.records.provenance import provenance

DIED = "its process died without a word; was it killed, or out of memory?"


def run(config: Any) -> None:
    """Runs the trial that `trial_id` names, as it was frozen below `runs_dir`.

    What it composes besides is not looked at: a YAML edited while a job waits can't change the trial.
    """
    folder = Ledger(Path(config.runs_dir)).trial(config.trial_id)
    with contextlib.suppress(HeldElsewhereError):
        run_frozen(folder)


def run_frozen(folder: TrialFolder) -> None:
    """Takes the lease, runs the trial and records how it ended. Nothing happens if it was done in the meantime.

    Raises:
        UsageError: a frozen config that is not this trial's.
        HeldElsewhereError: another process works on it.
        Exception: whatever ended the trial, after it was recorded.
    """
    with folder.lease:
        record = folder.record()
        # A trial that was trained and is scored in one more way stays finished, whatever happens to the scoring.
        was_finished = record["status"] == Status.FINISHED
        now = time.time()
        try:
            trial = _frozen_trial(folder)
            if is_done(record, evaluation_id(trial)):
                return
            folder.update(
                status=Status.RUNNING,
                is_scoring=was_finished,
                started_at=now,
                provenance=provenance(Path(__file__)),
                failure=None,
            )
            evaluations = _train_and_score(trial, folder, record)
        except Exception as error:
            folder.update(
                status=Status.FINISHED if was_finished else _status_of(error),
                failure={"message": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()},
            )
            raise
        folder.update(status=Status.FINISHED, finished_at=time.time(), evaluations=evaluations)


def is_done(record: dict[str, Any], evaluation: str) -> bool:
    """Whether there is nothing left to do: scored in this way, or diverged, which it would do again."""
    return evaluation in record["evaluations"] or record["status"] in (Status.DIVERGED, Status.PRUNED)


def _frozen_trial(folder: TrialFolder) -> TrialConfig:
    trial = trial_from_container(folder.frozen())
    found = trial_id(trial)
    if found != folder.trial_id:
        raise UsageError(
            f"{folder.config_path}: was edited after it was frozen (it is now trial {found}). "
            f"Delete the folder {folder.path} and run the grid again."
        )
    return trial


def _train_and_score(trial: TrialConfig, folder: TrialFolder, record: dict[str, Any]) -> dict[str, dict[str, float]]:
    # Paid by the server that this process was forked from.
    from ablate.records.mirror import Mirror
    from ablate.training.trial import run_trial

    mirror = Mirror(
        mode=trial.tracking.wandb,
        project=trial.tracking.project,
        folder=folder.path,
        trial_id=folder.trial_id,
        config=semantic(trial),
        group=record.get("first_grid"),
        tags=[f"{key}={value}" for key, value in {**record.get("choices", {}), **record.get("options", {})}.items()],
    )
    try:
        return run_trial(trial, folder, evaluation_id(trial), mirror)
    finally:
        mirror.close()


def _status_of(error: Exception) -> Status:
    from ablate.training.module import DivergedError

    return Status.DIVERGED if isinstance(error, DivergedError) else Status.FAILED


def settle(folder: TrialFolder, *, interrupted: bool) -> None:
    """Gives a trial whose process died without a word its status: to run again after an interrupt, else failed."""
    # In this order: a process writes its last status before it lets go of the lease.
    if folder.holder is not None:
        return
    record = folder.record()
    died = record["status"] == Status.RUNNING
    # Who watches a grid may have seen its trials die of the interrupt before it knew of one.
    seen_dying = record["status"] == Status.FAILED and record["failure"]["message"] == DIED
    if not died and not (interrupted and seen_dying):
        return
    folder.discard_stale_lease()
    failure = None if interrupted else {"message": DIED, "traceback": DIED}
    status = Status.PLANNED if interrupted else Status.FAILED
    folder.update(status=Status.FINISHED if record.get("is_scoring") else status, failure=failure)


def settle_unstarted(folder: TrialFolder, evaluation: str, reason: str) -> None:
    """Records why a trial that was launched never began."""
    record = folder.record()
    if record["status"] == Status.PLANNED and folder.holder is None and not is_done(record, evaluation):
        message = f"its process ended before the trial began ({reason})"
        folder.update(status=Status.FAILED, failure={"message": message, "traceback": message})


@dataclass(frozen=True)
class Failure:
    """What a failed trial tells: its message, its last lines, and where the rest is."""

    message: str
    text: str
    log_path: Path


def failure_of(folder: TrialFolder) -> Failure:
    """The failure that the record has."""
    recorded = folder.record().get("failure") or {"message": "no word of it", "traceback": "no word of it"}
    lines = [f"    {line}" for line in str(recorded["traceback"]).strip().splitlines()[-4:]]
    return Failure(str(recorded["message"]), "\n".join([*lines, f"    log: {folder.log_path}"]), folder.log_path)
