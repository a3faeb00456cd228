"""Load the weights that `init_from` names."""

from pathlib import Path

import torch

from ablate.config.trial import TrialConfig
from ablate.errors import FailureError
from ablate.model.hf import Weights, from_hugging_face
from ablate.records.ledger import Ledger


def initial_weights(trial: TrialConfig, runs_dir: Path) -> Weights | None:
    """Return the fp32 weights that `init_from` names, or None if it is not set.

    The job has already checked that they still match `init_from_id`.

    Raises:
        UsageError: a folder whose weights do not fit our models.
        FailureError: a trial whose weights were deleted.
    """
    if trial.init_from is None:
        return None
    assert trial.init_from_id, "the grid fills the id in"
    kind, _, name = trial.init_from_id.partition(":")
    if kind != "trial":
        return from_hugging_face(Path(trial.init_from).expanduser(), trial)
    path = Ledger(runs_dir).trial(name).model_path
    try:
        weights: Weights = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise FailureError(f"init_from={name}: its weights do not exist ({path}). Run that trial again.") from None
    return weights
