"""Compare what `plan` predicts with trials that train: memory of the process and CPU seconds of a step, on 12 shapes.

    python bench/plan.py [--steps 8] [--only SHAPE …]

The prediction is that of `plan --measure`: memory without running anything, and steps of full rows of random tokens.
The measurement trains the same shape on rows of corpus=wheels, in processes of its own with one thread. Time is CPU
time, because other processes slow steps down and add little to it. The peak of the resident memory is the kernel's
(VmHWM). What a step allocates is that peak minus the memory of the process after it has trained a tiny model, in a
process whose allocator returns every freed block (MALLOC_MMAP_THRESHOLD_).
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

OF_512 = ("scale.context_tokens=512", "scale.window_tokens=448", "budget.rows_per_step=2")
OF_256 = ("scale.context_tokens=256", "scale.window_tokens=216", "budget.rows_per_step=2")
PREFIX = ("objective=prefix", "architecture=encoder_decoder")
LLAMA, FULL, SELECTIVE = (
    "block=llama",
    "scale.activation_checkpointing=full",
    "scale.activation_checkpointing=selective",
)
SHAPES = {
    "demo gptj": ("scale=demo",),
    "demo llama": ("scale=demo", LLAMA),
    "demo encoder-decoder": ("scale=demo", *PREFIX),
    "4m gptj": ("scale=4m",),
    "4m llama, full checkpointing": ("scale=4m", LLAMA, FULL, "budget.rows_per_step=8"),
    "20m gptj, micro-batches of 1": ("scale=20m", *OF_512, "hardware.micro_batch_rows=1"),
    "20m gptj, full checkpointing": ("scale=20m", *OF_512, FULL),
    "20m encoder-decoder, llama": ("scale=20m", *OF_512, LLAMA, *PREFIX),
    "60m llama": ("scale=60m", *OF_256, LLAMA),
    "60m gptj, selective checkpointing": ("scale=60m", *OF_256, SELECTIVE),
    "150m gptj": ("scale=150m", *OF_256),
    "150m llama, full checkpointing": ("scale=150m", *OF_256, LLAMA, FULL),
}
# The vocabulary of scale=150m; tokens of the corpus have smaller ids, which changes neither memory nor time.
VOCABULARIES = {"150m": 51200}
TINY = ("scale=600k", "scale.context_tokens=64", "scale.window_tokens=48")
WARM_UP_STEPS, STEPS_FOR_MEMORY = 2, 2


@dataclass(frozen=True)
class Step:
    """A step of one shape, predicted or measured.

    Attributes:
        added: bytes that a step allocates, in a process that has trained before.
        total: bytes of the process.
        seconds: CPU seconds of a step.
    """

    added: int
    total: int
    seconds: float


def make_trial(overrides: tuple[str, ...]) -> Any:
    """Compose the trial of a shape."""
    from ablate.config.parse import composed_from_container
    from ablate.grid.expand import default_container

    return composed_from_container(default_container(*overrides, "evaluation.suites={}")).trial


def with_vocabulary(trial: Any, name: str) -> Any:
    """Return a trial whose model has the vocabulary of its scale."""
    size = VOCABULARIES.get(name.split()[0], trial.tokenizer.vocab_size)
    return replace(trial, tokenizer=replace(trial.tokenizer, vocab_size=size))


@contextlib.contextmanager
def cpu_time(steps: int) -> Iterator[None]:
    """Let `training.measure` take so many steps and CPU time."""
    from ablate.training import measure

    clock = SimpleNamespace(perf_counter=time.process_time)
    with patch.multiple(measure, STEPS=steps, WARM_UP_STEPS=WARM_UP_STEPS, time=clock):
        yield


def compared(name: str, steps: int) -> tuple[Step, Step]:
    """Predict and train a shape in this process."""
    import torch

    from ablate.data.batches.train_batches import TrainBatches
    from ablate.data.tokens.shards import open_shards
    from ablate.model.build import build_model
    from ablate.model.memory import training_memory
    from ablate.training.loader import batch_loader
    from ablate.training.measure import _Clock, step_seconds
    from ablate.training.module import TrialModule
    from ablate.training.trainer import build_trainer

    torch.set_num_threads(1)
    text_trial = make_trial(SHAPES[name])
    trial = with_vocabulary(text_trial, name)
    batches = TrainBatches(text_trial, open_shards(text_trial))
    loader = batch_loader(batches, first_step=0, workers=0)
    memory = training_memory(trial, devices=1, strategy="single")
    with cpu_time(steps):
        step_seconds(make_trial((*TINY, *(word for word in SHAPES[name] if word in (LLAMA, *PREFIX)))))
        before = _status("VmRSS")
        clock, trainer = _Clock(), build_trainer(trial)
        trainer.callbacks.append(clock)  # type: ignore[attr-defined]
        module = TrialModule(trial, build_model(trial, trial.tokenizer.vocab_size), "", float("inf"))
        trainer.fit(module, loader)
        peak = _status("VmHWM")
        del trainer, module
        planned = median(step_seconds(trial))
    return (
        Step(memory.total - memory.overhead, memory.total, planned),
        Step(peak - before, peak, median(clock.seconds)),
    )


def _status(field: str) -> int:
    """Return bytes of this process as the kernel counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def in_processes(name: str, steps: int) -> tuple[Step, Step]:
    """Compare in processes of their own: time is measured with the allocator as it is."""
    words = [sys.executable, __file__, "--child", "--only", name, "--steps"]

    def child(steps: int, **variables: str) -> list[Step]:
        done = subprocess.run([*words, str(steps)], capture_output=True, text=True, env={**os.environ, **variables})
        if done.returncode:
            raise SystemExit(done.stderr)
        return [Step(**each) for each in json.loads(done.stdout.splitlines()[-1])]

    plan, real = child(steps)
    _, returning = child(min(steps, STEPS_FOR_MEMORY), MALLOC_MMAP_THRESHOLD_="65536")
    return plan, replace(real, added=returning.added)


def main() -> None:
    """Print a row per shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--only", nargs="*", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps([asdict(step) for step in compared(options.only[0], options.steps)]))
        return
    print("| shape | a step allocates: plan, measured | process: plan, measured | CPU s a step: plan, measured |")
    print("|---|---:|---:|---:|")
    for name in options.only:
        plan, real = in_processes(name, options.steps)
        pairs = [
            f"{a / unit:.3g}, {b / unit:.3g} {suffix} ({a / b - 1:+.0%})"
            for a, b, unit, suffix in (
                (plan.added, real.added, 1e6, "MB"),
                (plan.total, real.total, 1e6, "MB"),
                (plan.seconds, real.seconds, 1, "s"),
            )
        ]
        print(f"| {name} | {' | '.join(pairs)} |", flush=True)


if __name__ == "__main__":
    main()
