"""The task function: one frozen trial, in its own process. Importable by name, as Hydra's launchers need it."""

import contextlib
import time
import traceback
from pathlib import Path
from typing import Any

from ablate.config import trial_from_container
from ablate.errors import FailureError, UsageError
from ablate.identity import evaluation_id, semantic, trial_id
from ablate.records.lease import HeldElsewhereError
from ablate.records.ledger import Ledger, Status, TrialFolder
from ablate.records.provenance import provenance


def run(config: Any) -> None:
    """Runs the trial that `trial_id` names, as it was frozen below `runs_dir`.

    What it composes besides is not looked at: a YAML edited while a job waits can't change the trial.
    """
    folder = Ledger(Path(config.runs_dir)).trial(config.trial_id)
    with contextlib.suppress(HeldElsewhereError):
        run_frozen(folder)


def run_frozen(folder: TrialFolder) -> None:
    """Takes the lease, runs the trial and records how it ended.

    Raises:
        UsageError: a frozen config that is not this trial's.
        HeldElsewhereError: another process works on it.
        Exception: whatever ended the trial, after it was recorded.
    """
    with folder.lease:
        record = folder.record()
        folder.update(
            status=Status.RUNNING, started_at=time.time(), provenance=provenance(Path(__file__)), failure=None
        )
        try:
            _train_and_score(folder, record)
        except Exception as error:
            folder.update(
                status=_status_of(error),
                failure={"message": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()},
            )
            raise
        folder.update(status=Status.FINISHED, finished_at=time.time())


def _train_and_score(folder: TrialFolder, record: dict[str, Any]) -> None:
    # Paid by the server that this process was forked from.
    from ablate.records.mirror import Mirror
    from ablate.training.trial import run_trial

    trial = trial_from_container(folder.frozen())
    found = trial_id(trial)
    if found != folder.trial_id:
        raise UsageError(
            f"{folder.config_path}: was edited after it was frozen (it is now trial {found}). "
            f"Delete the folder {folder.path} and run the grid again."
        )
    options = record.get("options", {})
    mirror = Mirror(
        mode=trial.tracking.wandb,
        project=trial.tracking.project,
        folder=folder.path,
        trial_id=found,
        config=semantic(trial),
        group=record.get("first_grid"),
        tags=[f"{key}={value}" for key, value in options.items()],
    )
    try:
        run_trial(trial, folder, evaluation_id(trial), mirror)
    finally:
        mirror.close()


def _status_of(error: Exception) -> Status:
    from ablate.training.module import DivergedError

    return Status.DIVERGED if isinstance(error, DivergedError) else Status.FAILED


def settle(folder: TrialFolder, *, interrupted: bool) -> None:
    """Gives a trial whose process died without a word its status: to run again after an interrupt, else failed."""
    if folder.status != Status.RUNNING or folder.holder is not None:
        return
    folder.discard_stale_lease()
    if interrupted:
        folder.update(status=Status.PLANNED)
    else:
        message = "the process ended without a word; was it killed, or out of memory?"
        folder.update(status=Status.FAILED, failure={"message": message, "traceback": message})


def failure_of(folder: TrialFolder) -> FailureError:
    """What a failed trial tells: its last lines and where the rest is."""
    failure = folder.record().get("failure") or {"traceback": "no record of it"}
    lines = str(failure["traceback"]).strip().splitlines()[-4:]
    return FailureError("\n".join(f"    {line}" for line in lines) + f"\n    log: {folder.log_path}")
