"""Trials that are trained without a command line."""

from pathlib import Path
from typing import Any

import torch

from ablate.config.trial import TrialConfig
from ablate.evaluation.suite import evaluation_id
from ablate.records.ledger import TrialFolder
from ablate.records.metrics import read_metrics
from ablate.records.wandb.writer import WandbWriter
from ablate.training.preemption import Preemption
from ablate.training.trial import run_trial


def no_mirror(folder: Path) -> WandbWriter:
    return WandbWriter(mode="disabled", project="", folder=folder, trial_id="", config={}, group=None, tags=[])


def trained(trial: TrialConfig, path: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]], TrialFolder]:
    folder = TrialFolder(path)
    path.mkdir(parents=True)
    folder.begin_attempt()
    folder.update(evaluations=run_trial(trial, folder, evaluation_id(trial), no_mirror(path), Preemption()))
    weights = torch.load(folder.model_path, weights_only=True)
    rows = [
        {name: value for name, value in row.items() if not name.startswith("speed/")}
        for row in read_metrics(folder.metrics_path)
    ]
    return weights, rows, folder
