"""Trials that are trained without a command line, their worker in this process."""

from pathlib import Path
from typing import Any

import torch

from ablate.config.trial import TrialConfig
from ablate.evaluation.suite import suite_ids
from ablate.records.ledger import TrialFolder
from ablate.records.metrics import read_metrics
from ablate.records.trial import Status
from ablate.scheduling.job import Job
from ablate.scheduling.recorder import Recorder, record_end
from ablate.training.messages import Assignment, DirectChannel, Ended
from ablate.training.preemption import Preemption
from ablate.training.trial import run_trial


def train(trial: TrialConfig, folder: TrialFolder, preemption: Preemption | None = None) -> None:
    """Run one attempt and record it if it finishes; what ends it otherwise is raised."""
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.begin_attempt()
    recorder = Recorder(folder, trial)
    suites = frozenset(suite_ids(trial).values()) - folder.record().evaluations.keys()
    assignment = Assignment(trial, folder, suites, "test", folder.is_trained, has_pruner=False)
    ended = Ended(Status.FAILED)
    try:
        ended = run_trial(assignment, DirectChannel(recorder.handle), preemption or Preemption())
        record_end(folder, trial, ended, Job(folder.trial_id, folder.path.parent), is_scoring=False)
    finally:
        recorder.close(ended)


def without_speed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of a log without what differs from run to run."""
    return [{name: value for name, value in row.items() if not name.startswith("speed/")} for row in rows]


def trained(trial: TrialConfig, path: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]], TrialFolder]:
    """Train a trial and return its weights, its log and its folder."""
    folder = TrialFolder(path)
    train(trial, folder)
    weights = torch.load(folder.model_path, weights_only=True)
    return weights, without_speed(read_metrics(folder.metrics_path)), folder
