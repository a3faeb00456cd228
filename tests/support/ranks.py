"""Trials on several devices, run as the local launcher runs them."""

from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from ablate.config.parse import trial_to_container
from ablate.config.trial import TrialConfig
from ablate.identity import semantic, trial_id
from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.metrics import read_metrics
from ablate.records.trial import Status, TrialRecord
from ablate.scheduling.job import Job
from ablate.scheduling.processes import start_process, start_server
from tests.support.command_line import wait_for


def freeze(trial: TrialConfig, runs_dir: Path) -> tuple[TrialFolder, Job]:
    """Freeze a trial in a ledger and return its folder and its job."""
    ledger = Ledger(runs_dir)
    record = TrialRecord(trial_id(trial), semantic=semantic(trial))
    ledger.freeze(record, trial_to_container(trial))
    return ledger.trial(record.trial_id), Job(record.trial_id, runs_dir)


def on(trial: TrialConfig, devices: int, strategy: str, **hardware: Any) -> TrialConfig:
    """Return the trial on so many devices: the same trial, because hardware is operational."""
    changed = replace(trial.hardware, devices=devices, strategy=strategy, **hardware)  # type: ignore[arg-type]
    return replace(trial, hardware=changed)


def run(trial: TrialConfig, runs_dir: Path, *, status: Status = Status.FINISHED) -> TrialFolder:
    """Run a trial to its end and return its folder."""
    folder, job = freeze(trial, runs_dir)
    start_server()
    process = start_process("ablate.scheduling.supervisor:run_job", job, output=folder.log_path)
    process.join(300)
    record = folder.record()
    assert record.status == status, folder.log_path.read_text()
    return folder


def run_until(trial: TrialConfig, runs_dir: Path, step: int) -> TrialFolder:
    """Run a trial and stop it, as a cluster does, after so many steps at least."""
    folder, job = freeze(trial, runs_dir)
    start_server()
    process = start_process("ablate.scheduling.supervisor:run_job", job, output=folder.log_path)
    wait_for(lambda: len(read_metrics(folder.metrics_path)) >= step or not process.is_alive())
    process.terminate()
    process.join(120)
    assert folder.status == Status.PENDING, folder.log_path.read_text()
    return folder


def losses(folder: TrialFolder) -> list[float]:
    """The loss of each logged step."""
    return [row["train/loss"] for row in read_metrics(folder.metrics_path) if "train/loss" in row]


def sums(folder: TrialFolder) -> list[dict[str, Any]]:
    """What each logged step read and computed: counters and the digest of the windows."""
    return [
        {name: value for name, value in row.items() if name.startswith("data/")}
        for row in read_metrics(folder.metrics_path)
    ]


def weights(folder: TrialFolder) -> dict[str, torch.Tensor]:
    """The trained weights."""
    state: dict[str, torch.Tensor] = torch.load(folder.model_path, weights_only=True)
    return state


def processes_of(job_process: BaseProcess) -> list[int]:
    """The ids of the ranks that a supervisor has started, which are children of the same fork server."""
    import psutil

    own = psutil.Process(job_process.pid)
    server = own.parent()
    assert server is not None
    later = [child for child in server.children() if child.create_time() >= own.create_time() and child.pid != own.pid]
    return [child.pid for child in sorted(later, key=lambda child: child.create_time())]
