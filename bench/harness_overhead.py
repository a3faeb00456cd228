"""Measure the harness's overhead: tokens/s of a trial relative to a bare loop over the same model and batches.

    python bench/harness_overhead.py [--scale 4m] [--steps 14] [--pairs 7]

The bare loop is a hand-written one: prebuilt batches, forward, loss, backward, clipping, AdamW. The trial builds its
batches while it trains, runs under Lightning, and logs to the ledger and to W&B offline. The order within pairs of runs
alternates; the result is the median ratio of the pairs.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from ablate.config.parse import composed_from_container
from ablate.config.trial import TrialConfig
from ablate.data.batches.stream import Stream
from ablate.data.batches.train_batches import TrainBatches
from ablate.data.tokens.shards import Shards, open_shards
from ablate.evaluation.evaluator import Evaluator
from ablate.grid.expand import default_container
from ablate.model.decoder import Decoder
from ablate.records.ledger import TrialFolder
from ablate.records.provenance import machine
from ablate.records.trial import Status
from ablate.scheduling.processes import start_process, start_server
from ablate.scheduling.recorder import Recorder
from ablate.training.channels import PipeChannel
from ablate.training.loader import batch_loader
from ablate.training.log import TrialLog
from ablate.training.messages import Ended, TrainingBegins
from ablate.training.module import TrialModule
from ablate.training.optimizer import adamw
from ablate.training.preemption import Preemption
from ablate.training.trainer import build_trainer

WARM_UP_STEPS = 3


def make_trial(scale: str, steps: int, *overrides: str) -> TrialConfig:
    """Create a trial with `steps` steps at a scale."""
    container = default_container(
        f"scale={scale}", "tracking.log_every_steps=5", "evaluation.val_evaluations=0", *overrides
    )
    tokens = steps * container["budget"]["rows_per_step"] * container["scale"]["window_tokens"]
    container["budget"]["train_tokens"] = container["schedule"]["decay_tokens"] = tokens
    return composed_from_container(container).trial


def bare_loop(trial: TrialConfig, shards: Shards, steps: int) -> float:
    """Return train tokens per second of a hand-written loop."""
    train_batches = TrainBatches(trial, shards)
    batches = [train_batches[number] for number in range(steps)]
    model = Decoder.from_config(trial, trial.tokenizer.vocab_size)
    optimizer = adamw(model, trial.optimizer)
    for number, step in enumerate(batches):
        if number == WARM_UP_STEPS:
            started = time.perf_counter()
        optimizer.zero_grad()
        torch.autograd.backward(model.loss(step.batch) / step.loss_tokens)
        torch.nn.utils.clip_grad_norm_(model.parameters(), trial.optimizer.clip_norm)
        optimizer.step()
    seconds = time.perf_counter() - started
    return (steps - WARM_UP_STEPS) * trial.train_tokens_per_step / seconds


class _Clock(pl.Callback):
    """Keep the time at the end of each step."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *arguments: object) -> None:
        """Append the time."""
        self.times.append(time.perf_counter())


def record(path: Path, trial: TrialConfig, connection: "Connection[Any, Any]") -> None:
    """Handle a trial's messages in a separate process, as a supervisor does."""
    folder = TrialFolder(path)
    folder.begin_attempt()
    recorder = Recorder(folder, trial)
    recorder.handle(TrainingBegins(from_step=0, log_bytes=0))
    while not isinstance(message := connection.recv(), Ended):
        if (reply := recorder.handle(message)) is not None:
            connection.send(reply)
    recorder.close(message)


def trial_loop(trial: TrialConfig, shards: Shards, steps: int, path: Path) -> float:
    """Return train tokens per second of a trial whose supervisor runs in another process."""
    connection, of_supervisor = Pipe()
    supervisor = start_process("harness_overhead:record", path / "trial", trial, of_supervisor)
    of_supervisor.close()
    channel = PipeChannel(connection, Preemption())
    model = Decoder.from_config(trial, trial.tokenizer.vocab_size)
    module = TrialModule(trial, model, shards.facts.fingerprint, float(trial.budget.train_tokens))
    every = trial.tracking.log_every_steps
    log = TrialLog(channel, Evaluator(trial, shards), Stream(shards, trial), every_steps=every, evaluations=0)
    clock = _Clock()
    trainer = build_trainer(trial)
    trainer.callbacks.extend([log, clock])  # type: ignore[attr-defined]
    trainer.fit(module, batch_loader(TrainBatches(trial, shards), first_step=0, workers=trial.hardware.loader_workers))
    channel.send(Ended(Status.FINISHED))
    supervisor.join()
    seconds = clock.times[-1] - clock.times[WARM_UP_STEPS - 1]
    return (len(clock.times) - WARM_UP_STEPS) * trial.train_tokens_per_step / seconds


def main() -> None:
    """Print each pair and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="4m")
    parser.add_argument("--steps", type=int, default=14)
    parser.add_argument("--pairs", type=int, default=7)
    options = parser.parse_args()
    start_server()
    torch.set_num_threads(1)
    trial = make_trial(options.scale, options.steps)
    shards = open_shards(trial)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    print(f"scale={options.scale}, {options.steps} steps, commit {commit}, {machine()}, torch {torch.__version__}")
    ratios: list[float] = []
    for pair in range(options.pairs):
        with tempfile.TemporaryDirectory() as folder:
            speed = {}
            for name in ("bare", "trial") if pair % 2 else ("trial", "bare"):
                if name == "bare":
                    speed[name] = bare_loop(trial, shards, options.steps)
                else:
                    speed[name] = trial_loop(trial, shards, options.steps, Path(folder))
        ratios.append(speed["trial"] / speed["bare"])
        print(f"  bare {speed['bare']:8.0f} tokens/s   trial {speed['trial']:8.0f} tokens/s   ratio {ratios[-1]:.3f}")
    print(f"median ratio {statistics.median(ratios):.3f} (from {min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
