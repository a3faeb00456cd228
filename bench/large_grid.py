"""Time the lesson of a finished grid with many cells, and `status` on its ledger.

    python bench/large_grid.py [--objectives causal,mixed] [--rates 100] [--seeds 5] [--repeats 5]

One trial is trained. Its folder is copied for all other cells, with noise added to the scores. The time is that of the
whole command as a new process; the peak of its resident memory is measured too.
"""

import argparse
import json
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ablate.records.provenance import machine


def command(runs_dir: Path, verb: list[str], overrides: list[str]) -> list[str]:
    """The command line of a verb on this ledger."""
    return [sys.executable, "-m", "ablate", *verb, *overrides, f"runs_dir={runs_dir}"]


def fill(runs_dir: Path, overrides: list[str]) -> int:
    """Train one trial, copy it to all cells of the grid, and return the number of cells."""
    shared = [word for word in overrides if not word.startswith(("objective=", "optimizer.", "seed="))]
    subprocess.run(command(runs_dir, ["run"], [*shared, "objective=causal"]), check=True, capture_output=True)
    [source] = [path for path in runs_dir.iterdir() if (path / "record.json").exists()]
    record = json.loads((source / "record.json").read_text())
    listed = subprocess.run(
        command(runs_dir, ["status"], ["-m", *overrides, "--json"]), check=True, capture_output=True, text=True
    )
    cells = json.loads(listed.stdout)["trials"]
    noise = random.Random(0)
    for cell in cells:
        folder = runs_dir / cell["trial_id"]
        shutil.copytree(source, folder, dirs_exist_ok=True)
        scores = {
            evaluation: {name: value + noise.gauss(0, 0.01) for name, value in scores.items()}
            for evaluation, scores in record["evaluations"].items()
        }
        copied = {**record, "trial_id": cell["trial_id"], "evaluations": scores}
        (folder / "record.json").write_text(json.dumps(copied, indent=2))
    return len(cells)


def timed(words: list[str]) -> tuple[float, str]:
    """Seconds of a command, and what it printed."""
    started = time.perf_counter()
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return time.perf_counter() - started, done.stdout


def main() -> None:
    """Prints the median of several runs of each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objectives", default="causal,mixed")
    parser.add_argument("--rates", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    rates = ",".join(f"{0.001 + 1e-6 * number:.6f}" for number in range(chosen.rates))
    overrides = [
        f"objective={chosen.objectives}",
        f"optimizer.learning_rate={rates}",
        f"seed={','.join(map(str, range(chosen.seeds)))}",
        "budget=smoke",
        "tracking=none",
    ]
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        runs_dir = Path(folder) / "runs"
        cells = fill(runs_dir, overrides)
        print(f"{cells} finished cells, commit {commit}, {machine()}")
        for name, words in {
            "the grid's command again": command(runs_dir, ["run"], ["-m", *overrides]),
            "status": command(runs_dir, ["status"], []),
            "status --json": command(runs_dir, ["status"], ["--json"]),
        }.items():
            runs = [timed(words) for _ in range(chosen.repeats)]
            assert "to run" not in runs[-1][1] or " 0 to run" in runs[-1][1]
            seconds = [elapsed for elapsed, _ in runs]
            # Of all children so far; the grid's command comes first and is the largest.
            peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
            print(
                f"  {name:26} {statistics.median(seconds):6.2f} s (from {min(seconds):.2f} to {max(seconds):.2f}), "
                f"peak {peak_mb:.0f} MB"
            )


if __name__ == "__main__":
    main()
