"""The weights that a trial starts from, where it does not draw them."""

from pathlib import Path

import torch

from ablate.config.trial import TrialConfig
from ablate.errors import FailureError
from ablate.model.hf import Weights, from_hugging_face
from ablate.records.ledger import Ledger


def initial_weights(trial: TrialConfig, runs_dir: Path) -> Weights | None:
    """The state that `init_from` names, fp32; None where the trial draws its own.

    `init_from_id` says what it names; that it is still what was planned is the job's to check.

    Raises:
        UsageError: a folder whose weights are not a model's of ours.
        FailureError: a trial whose weights are gone.
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
        raise FailureError(f"init_from={name}: its weights are gone ({path}). Run that trial again.") from None
    return weights
