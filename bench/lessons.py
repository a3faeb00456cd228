"""Time the tables of a large grid: python bench/lessons.py [--wandb] (1 000 runs × 1 000 points, docs/lessons.md).

The trials are synthetic. With --wandb, the same table is also read from W&B's offline files.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ablate.evaluation.suite import SUITES, metrics_of
from ablate.lessons.grid_results import GridResults
from ablate.lessons.lesson import Lesson
from ablate.records.grid import ArmRecord, ContrastRecord, Declaration, GridRecord
from ablate.records.ledger import Ledger
from ablate.records.ledger_logs import LedgerLogs
from ablate.records.logs import Logs
from ablate.records.schema import to_json, write
from ablate.records.trial import Counts, Status, TrainResult
from ablate.records.wandb.writer import RunDescription, WandbWriter
from ablate.reports.curves import draw_curves
from ablate.reports.markdown import markdown
from ablate.reports.table import accounting_table, lesson_table

ARMS, SEEDS, POINTS = 40, 25, 1000
METRICS = ("train/loss", "train/gradient_norm", "train/learning_rate", "data/input_tokens", "data/loss_tokens")
SCORES = ("bpb_full", "bpb_full/code", "bpb_full/english", "bpb_continuation", "infill_bpb_left")
EVALUATION, GRID = "e" * 12, "0" * 12
RESULT = TrainResult(Counts(POINTS, 1000 * POINTS, flops=1e9, windows="w"), 1.0, 10, "")


def rows_of(rng: np.random.Generator) -> pd.DataFrame:
    """The log of a trial."""
    steps = np.arange(1, POINTS + 1)
    columns: dict[str, Any] = {name: rng.normal(size=POINTS) for name in METRICS}
    return pd.DataFrame({"step": steps, "data/train_tokens": 1000 * steps, **columns, "data/windows": "w"})


def write_ledger(runs_dir: Path) -> GridRecord:
    """1 000 trials and the grid that names them."""
    rng, ledger, arms = np.random.default_rng(0), Ledger(runs_dir), []
    for arm in range(ARMS):
        trials = {str(seed): f"{arm:06}{seed:06}" for seed in range(SEEDS)}
        label = f"arm{arm}"
        arms.append(ArmRecord(label, {"arm": label}, {"causal": 1.0}, trials))
        for trial in trials.values():
            folder = ledger.trial(trial)
            folder.update(
                status=Status.FINISHED,
                result=RESULT,
                evaluations={EVALUATION: {name: 2 + 0.01 * arm + 0.01 * rng.normal() for name in SCORES}},
            )
            rows_of(rng).to_parquet(folder.path / "metrics.parquet")
    declaration = Declaration(
        primary_metric="bpb_full",
        smallest_effect=0.02,
        confidence=0.95,
        contrasts=tuple(
            ContrastRecord(arm.label, "bpb_full", {arm.label: 1.0, arms[0].label: -1.0}) for arm in arms[1:]
        ),
        factors=("arm",),
        matched_on="train_tokens",
        pairing="windows",
        looks=(SEEDS,),
    )
    grid = GridRecord(
        grid_id=GRID,
        command="bench",
        title="arm",
        arms=tuple(arms),
        declaration=declaration,
        suites={"bits_per_byte": EVALUATION},
        metrics=tuple(metrics_of(SUITES).values()),
        created_at=0.0,
    )
    write(ledger.grid_path(GRID), grid)
    return grid


def write_wandb(runs_dir: Path) -> None:
    """One real offline run of 1 000 points, under the id of every trial."""
    rng = np.random.default_rng(0)
    first = runs_dir / f"{0:06}{0:06}"
    mirror = WandbWriter(
        mode="offline",
        project="bench",
        folder=first,
        trial_id=first.name,
        description=RunDescription("bench", None, (), {}),
    )
    for row in rows_of(rng).to_dict(orient="records"):
        step = int(row.pop("step"))
        mirror.append(step, {str(name): value for name, value in row.items()})
    mirror.append(POINTS, {f"test/{name}": 2.0 for name in SCORES})
    about = {"status": "finished", "evaluations": {EVALUATION: dict.fromkeys(SCORES, 2.0)}, **to_json(RESULT)}
    mirror.conclude({f"ablate/{name}": value for name, value in about.items()})
    mirror.close()
    [file] = first.glob("wandb/offline-run-*/*.wandb")
    for arm in range(ARMS):
        for seed in range(SEEDS):
            trial = f"{arm:06}{seed:06}"
            place = runs_dir / trial / "wandb" / file.parent.name.replace(first.name, trial) / f"run-{trial}.wandb"
            if not place.exists():
                place.parent.mkdir(parents=True)
                shutil.copy(file, place)


def tables_seconds(logs: Logs, grid: GridRecord) -> float:
    """Seconds for reading the logs, the lesson, all of its tables, and the curves."""
    started = time.perf_counter()
    results = GridResults(logs, grid)
    lesson = Lesson.of(results)
    assert not results.history([arm.label for arm in results.arms]).empty
    for table in (lesson.table(), lesson_table(lesson), accounting_table(lesson), markdown(lesson)):
        assert len(table)
    draw_curves(lesson)
    return time.perf_counter() - started


def command_seconds(runs_dir: Path) -> float:
    """The same from W&B's files, as its users type it: only there are files read by several processes."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "ablate", "lessons", f"runs_dir={runs_dir}", "wandb=offline"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Prints seconds, the median of three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wandb", action="store_true", help="from W&B's offline files too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        runs_dir = Path(name)
        grid = write_ledger(runs_dir)
        declared = LedgerLogs(Ledger(runs_dir))
        seconds = [tables_seconds(declared, grid) for _ in range(3)]
        print(f"from the ledger: {statistics.median(seconds):.1f} s (first {seconds[0]:.1f} s; must reach 5 s)")
        if arguments.wandb:
            write_wandb(runs_dir)
            seconds = [command_seconds(runs_dir) for _ in range(3)]
            print(f"from offline W&B files: {statistics.median(seconds):.1f} s (must reach 60 s)")


if __name__ == "__main__":
    main()
