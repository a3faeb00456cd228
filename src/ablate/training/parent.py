"""The parent of a trial (`schedule.continues_at`): the trial whose last state it continues from."""

from pathlib import Path

from ablate.config.trial import TrialConfig
from ablate.errors import UsageError
from ablate.identity import parent_of, trial_id
from ablate.ranks import ALONE, Ranks
from ablate.records.ledger import Ledger
from ablate.records.trial import Status


def parent_state(trial: TrialConfig, runs_dir: Path, ranks: Ranks = ALONE) -> Path | None:
    """Return the checkpoint after the parent's last step; None for a trial that starts at step 0.

    Raises:
        UsageError: the parent is not finished, or its last state was not kept.
    """
    parent = parent_of(trial)
    if parent is None:
        return None
    folder = Ledger(runs_dir).trial(trial_id(parent))
    is_finished = folder.path.exists() and folder.status == Status.FINISHED
    state = folder.checkpoints.newest(ranks) if is_finished else None
    if state is not None:
        return state
    tokens = parent.budget.train_tokens
    overrides = ["schedule=wsd", "schedule.cooldown_fraction=0", f"budget.train_tokens={tokens}"]
    if parent.schedule.continues_at:
        overrides.append(f"schedule.continues_at=[{','.join(map(str, parent.schedule.continues_at))}]")
    problem = "did not keep its last state" if is_finished else "is not finished"
    raise UsageError(
        f"schedule.continues_at: the trial {folder.trial_id} (data_seed={trial.data_seed}), which this one continues "
        f"at {tokens} train tokens, {problem}. Run it first, with the same other overrides and seeds:\n"
        f"  python -m ablate -m {' '.join(overrides)} checkpoint.keep_final=true"
        + (f"\nafter deleting {folder.path}" if is_finished else "")
    )
