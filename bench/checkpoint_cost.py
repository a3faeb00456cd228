"""Measure the cost of checkpoints: tokens/s of a trial that saves relative to one that does not.

    python bench/checkpoint_cost.py [--scale 4m] [--steps 90] [--every-seconds 10] [--pairs 5]

Both run under Lightning with their logs, in pairs of alternating order. Printed are the median slowdown and the time
that training waited, and both extrapolated to the longer interval of `conf/config.yaml`: the cost of a save does
not depend on it.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import torch

from ablate.config.trial import TrialConfig
from ablate.data.batches.stream import Stream
from ablate.data.batches.train_batches import TrainBatches
from ablate.data.tokens.shards import Shards, open_shards
from ablate.evaluation.evaluator import Evaluator
from ablate.grid.expand import default_container
from ablate.model.decoder import Decoder
from ablate.records.checkpoints import Checkpoints
from ablate.records.ledger import TrialFolder
from ablate.records.provenance import machine
from ablate.records.trial import Status
from ablate.scheduling.recorder import Recorder
from ablate.training.checkpointing import Checkpointing
from ablate.training.loader import batch_loader
from ablate.training.log import TrialLog
from ablate.training.messages import DirectChannel, Ended, TrainingBegins
from ablate.training.module import TrialModule
from ablate.training.preemption import Preemption
from ablate.training.trainer import build_trainer
from harness_overhead import make_trial

FOREVER_SECONDS = 1e9


def train(trial: TrialConfig, shards: Shards, folder: Path) -> tuple[float, float, int]:
    """(seconds, of them waited for saving, saves) of a trial."""
    of_trial = TrialFolder(folder)
    of_trial.begin_attempt()
    recorder = Recorder(of_trial, trial)
    recorder.handle(TrainingBegins(from_step=0, log_bytes=0))
    module = TrialModule(
        trial,
        Decoder.from_config(trial, trial.tokenizer.vocab_size),
        shards.facts.fingerprint,
        trial.budget.train_tokens,
    )
    log = TrialLog(
        DirectChannel(recorder.handle),
        Evaluator(trial, shards),
        Stream(shards, trial),
        every_steps=trial.tracking.log_every_steps,
        evaluations=0,
    )
    store = Checkpoints(folder / "checkpoints", "bench")
    checkpointing = Checkpointing(store, trial.checkpoint, log, Preemption(), None, memory_fraction=0.5)
    trainer = build_trainer(trial)
    trainer.callbacks.extend([log, checkpointing])  # type: ignore[attr-defined]
    started = time.perf_counter()
    trainer.fit(module, batch_loader(TrainBatches(trial, shards), first_step=0, workers=0))
    checkpointing.close()
    seconds = time.perf_counter() - started
    recorder.close(Ended(Status.FINISHED))
    return seconds, log.checkpoint_seconds, checkpointing.saves


def main() -> None:
    """Prints each pair and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="4m")
    parser.add_argument("--steps", type=int, default=90)
    parser.add_argument("--every-seconds", type=float, default=10.0)
    parser.add_argument("--pairs", type=int, default=5)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    saving = make_trial(chosen.scale, chosen.steps, f"checkpoint.every_seconds={chosen.every_seconds}", "tracking=none")
    plain = make_trial(chosen.scale, chosen.steps, f"checkpoint.every_seconds={FOREVER_SECONDS}", "tracking=none")
    shards = open_shards(plain)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    print(f"scale={chosen.scale}, {chosen.steps} steps, commit {commit}, {machine()}, torch {torch.__version__}")
    shares: list[float] = []
    waits: list[float] = []
    for pair in range(chosen.pairs):
        with tempfile.TemporaryDirectory() as folder:
            results = {}
            for name in ("plain", "saving") if pair % 2 else ("saving", "plain"):
                place = Path(folder) / name
                place.mkdir()
                results[name] = train(saving if name == "saving" else plain, shards, place)
        seconds, waited, saves = results["saving"]
        shares.append(seconds / results["plain"][0] - 1)
        waits.append(waited / saves)
        print(
            f"  plain {results['plain'][0]:6.2f} s   saving {seconds:6.2f} s   {shares[-1]:+6.1%}   "
            f"{saves} saves, {1e3 * waited / saves:.0f} ms waited for each"
        )
    default = float(default_container()["checkpoint"]["every_seconds"])
    share, wait = statistics.median(shares), statistics.median(waits)
    print(
        f"median {share:+.1%} at every {chosen.every_seconds:g} s (from {min(shares):+.1%} to {max(shares):+.1%}), "
        f"{1e3 * wait:.0f} ms waited for each save"
    )
    print(f"at every {default:g} s: {share * chosen.every_seconds / default:+.2%}, of it {wait / default:.3%} waited")


if __name__ == "__main__":
    main()
