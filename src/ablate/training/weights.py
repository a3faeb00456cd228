"""Load the weights of a trained trial, and those that `init_from` names."""

import zipfile
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
        FailureError: a trial whose weights were deleted or damaged.
    """
    if trial.init_from is None:
        return None
    assert trial.init_from_id, "the grid fills the id in"
    kind, _, name = trial.init_from_id.partition(":")
    if kind != "trial":
        return from_hugging_face(Path(trial.init_from).expanduser(), trial)
    return trained_weights(Ledger(runs_dir).trial(name).model_path)


def trained_weights(path: Path, *, mmap: bool = False) -> Weights:
    """Return the fp32 weights that a trial ended with, on the CPU.

    Args:
        path: its model.pt.
        mmap: read each weight only when it is used.

    Raises:
        FailureError: the file is missing or damaged.
    """
    # The end of a file that torch.save wrote has its table of contents.
    if not zipfile.is_zipfile(path):
        raise FailureError(
            f"{path} is missing or damaged. Delete the trial's folder and run its command again; that trains it anew."
        )
    weights: Weights = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    return weights
