"""The task function: one frozen trial, in its own process. Importable by name, as Hydra's launchers need it."""

import contextlib
import logging
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.config.parse import trial_from_container
from ablate.config.trial import TrialConfig
from ablate.errors import LedgerError, UsageError
from ablate.evaluation.suite import evaluation_id, validation_id
from ablate.grid.initial import resolve_init_from
from ablate.identity import differences, semantic, trial_id
from ablate.objectives.registry import plugin_packages
from ablate.records.lease import LockedError
from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.provenance import provenance
from ablate.records.schema import to_json
from ablate.records.trial import Failure, Scores, Status, TrialRecord
from ablate.records.tuning import CandidateRef

if TYPE_CHECKING:
    from ablate.records.optuna.studies import Candidate
    from ablate.training.preemption import Preemption

log = logging.getLogger(__name__)

DIED = "its process died without a word; was it killed, or out of memory?"


def run(config: Any) -> None:
    """Runs the trial that `trial_id` names, as it was frozen below `runs_dir`.

    What it composes besides is not looked at: a YAML edited while a job waits can't change the trial.
    """
    folder = Ledger(Path(config.runs_dir)).trial(config.trial_id)
    candidate = None
    if config.candidate is not None:
        from ablate.records.optuna.studies import Candidate

        candidate = Candidate(**config.candidate)
    with contextlib.suppress(LockedError):
        run_frozen(folder, candidate)


def run_frozen(folder: TrialFolder, candidate: "Candidate | None" = None) -> None:
    """Takes the lease, runs the trial and records how it ended. Nothing happens if it was done in the meantime.

    Args:
        folder: the trial's place in the ledger.
        candidate: what it is in a study, if a sweep runs it: it is scored on the validation split alone then, and may be
            pruned.

    Raises:
        UsageError: a frozen config that is not this trial's.
        LockedError: another process works on it.
        PreemptedError: it was asked to end; the same command goes on with it.
        Exception: whatever ended the trial, after it was recorded.
    """
    # Paid by the server that this process was forked from.
    from ablate.training.preemption import Preemption
    from ablate.training.pruning import PrunedError

    with Preemption().caught() as preemption, folder.lease:
        record = folder.record()
        # A trial that was trained and is scored in one more way stays finished, whatever happens to the scoring.
        was_finished = record.status == Status.FINISHED or (record.status == Status.RUNNING and record.is_scoring)
        try:
            trial = _frozen_trial(folder)
            if (
                is_done(record, evaluation_id(trial))
                if candidate is None
                else is_validated(record, validation_id(trial))
            ):
                return
            folder.update(
                is_scoring=was_finished,
                provenance=provenance(Path(__file__), folder.path.parent / "diffs", plugin_packages()),
            )
            folder.begin_attempt(threads=trial.hardware.threads_per_trial)
            if not was_finished:
                check_initial_weights(trial, folder)
            evaluations = _train_and_score(trial, folder, record, preemption, candidate)
        except PrunedError as pruned:
            assert candidate is not None
            by = CandidateRef(candidate.storage, candidate.study, candidate.number)
            failure = Failure(str(pruned), str(pruned))
            folder.end_attempt(Status.PRUNED, status=Status.PRUNED, failure=failure, pruned_by=by)
            return
        except Exception as error:
            status = Status.FINISHED if was_finished else _status_of(error)
            _record_end(folder, status, error)
            raise
        folder.end_attempt(
            Status.FINISHED, status=Status.FINISHED, finished_at=time.time(), evaluations=evaluations, failure=None
        )


def _record_end(folder: TrialFolder, status: Status, error: Exception) -> None:
    message = f"{type(error).__name__}: {error}"
    failure = Failure(message, traceback.format_exc(), getattr(error, "evidence", {}))
    try:
        folder.end_attempt(status, status=status, failure=None if status == Status.PENDING else failure)
    except (OSError, LedgerError) as unwritten:
        # A full disk is told of by the error that it caused, which comes next.
        log.error("The end of the trial could not be recorded: %s", unwritten)


def is_done(record: TrialRecord, evaluation: str) -> bool:
    """Whether a grid has nothing left to do: scored in this way, or diverged, which it would do again."""
    return evaluation in record.evaluations or record.status == Status.DIVERGED


def is_validated(record: TrialRecord, validation: str) -> bool:
    """Whether a sweep has nothing left to do: trained and scored on the validation split in this way, or diverged."""
    return validation in record.validation or record.status == Status.DIVERGED


def _frozen_trial(folder: TrialFolder) -> TrialConfig:
    trial = trial_from_container(folder.frozen())
    found = trial_id(trial)
    if found != folder.trial_id:
        recorded = folder.record().semantic
        changed = "\n".join(f"  {difference}" for difference in differences(recorded, semantic(trial)))
        raise UsageError(
            f"{folder.config_path}: what it says is now the trial {found}, not {folder.trial_id}:\n{changed}\n"
            "If it was edited, run the grid again: it is then written anew. If ablate's code changed, plan the trial "
            "as a new one by running the grid again."
        )
    return trial


def check_initial_weights(trial: TrialConfig, folder: TrialFolder) -> None:
    """Refuses other weights than those that the trial was planned with. A trial under way needs them no more."""
    if trial.init_from is None or folder.checkpoints.newest_step is not None:
        return
    found = resolve_init_from(trial, folder.path.parent)
    if found != trial.init_from_id:
        raise UsageError(
            f"init_from={trial.init_from}: holds other weights now than when the trial was planned ({found}, not "
            f"{trial.init_from_id}). Put the former back, or run the grid again: it plans a trial of its own."
        )


def _train_and_score(
    trial: TrialConfig,
    folder: TrialFolder,
    record: TrialRecord,
    preemption: "Preemption",
    candidate: "Candidate | None",
) -> dict[str, Scores]:
    from ablate.records.wandb.writer import WandbWriter
    from ablate.training.trial import run_trial

    mirror = WandbWriter(
        mode=trial.tracking.wandb,
        project=trial.tracking.project,
        folder=folder.path,
        trial_id=folder.trial_id,
        # Beside what made the id, what readers and dashboards group by.
        config={
            **semantic(trial),
            "ablate": {key: getattr(record, key) for key in ("options", "choices", "first_grid")},
        },
        group=record.first_grid,
        tags=[f"{key}={value}" for key, value in {**record.choices, **record.options}.items()],
    )
    about: dict[str, Any] = {"status": Status.FINISHED, "evaluation_id": evaluation_id(trial)}
    try:
        evaluations = run_trial(
            trial,
            folder,
            evaluation_id(trial),
            mirror,
            preemption,
            split="test" if candidate is None else "validation",
            pruner=candidate,
        )
        about |= to_json(folder.record().result)
        return evaluations
    except Exception as error:
        about["status"] = _status_of(error)
        raise
    finally:
        # W&B writes an enumeration's name for its value.
        about["status"] = str(about["status"])
        mirror.conclude({f"ablate/{name}": value for name, value in about.items()})
        mirror.close()


def _status_of(error: Exception) -> Status:
    from ablate.training.divergence import DivergedError
    from ablate.training.preemption import PreemptedError
    from ablate.training.pruning import PrunedError

    if isinstance(error, PreemptedError):
        return Status.PENDING
    if isinstance(error, PrunedError):
        return Status.PRUNED
    return Status.DIVERGED if isinstance(error, DivergedError) else Status.FAILED


def reconcile(folder: TrialFolder, *, interrupted: bool) -> None:
    """Gives a trial whose process died without a word its status: to run again after an interrupt, else failed."""
    if not _has_died(folder.record(), interrupted=interrupted) or folder.holder is not None:
        return
    # Under the lease, as another command may take the trial up at this moment.
    with contextlib.suppress(LockedError), folder.lease:
        record = folder.record()
        if _has_died(record, interrupted=interrupted):
            failure = None if interrupted else Failure(DIED, DIED)
            ended = Status.PENDING if interrupted else Status.FAILED
            status = Status.FINISHED if record.is_scoring else ended
            folder.end_attempt("interrupted" if interrupted else "died", status=status, failure=failure)


def _has_died(record: TrialRecord, *, interrupted: bool) -> bool:
    # Who watches a grid may have seen its trials die of the interrupt before it knew of one.
    seen_dying = record.status == Status.FAILED and record.failure is not None and record.failure.message == DIED
    return record.status == Status.RUNNING or (interrupted and seen_dying)


def reconcile_unstarted(folder: TrialFolder, evaluation: str, reason: str) -> None:
    """Records why a trial that was launched never began."""
    record = folder.record()
    if record.status == Status.PENDING and not record.attempts and not is_done(record, evaluation):
        message = f"its process ended before the trial began ({reason})"
        folder.update(status=Status.FAILED, failure=Failure(message, message))


def failure_of(folder: TrialFolder) -> Failure:
    """Return why the trial failed, as recorded."""
    return folder.record().failure or Failure("no error was recorded", "no error was recorded")


def failure_text(folder: TrialFolder) -> str:
    """Return the last lines of the failure, and the path of the log."""
    lines = [f"    {line}" for line in failure_of(folder).traceback.strip().splitlines()[-4:]]
    return "\n".join([*lines, f"    log: {folder.log_path}"])
