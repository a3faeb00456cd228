"""Kills a tuning at random moments and starts it again, until it has been killed so often; then checks what it left.

    python tests/integration/tuning_kills.py [--kills 20] [--seed 0]

The command is killed by SIGKILL, alone or with all of its trials. In the end no candidate
may be lost, made twice or run from the beginning twice, and each must have what an uninterrupted trial has.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna

from ablate.records.optuna.studies import studies_of
from ablate.records.schema import read
from ablate.records.tuning import TuningRecord
from tests.support.command_line import command
from tests.support.text import write_text

CANDIDATES = 10
WORDS = [
    *("-m", "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))", "objective=causal,mixed", "replicates=2"),
    *("evaluation.val_evaluations=4", "evaluation=bits_per_byte", "tracking=none"),
    *(f"hydra.sweeper.n_trials={CANDIDATES}", "hydra.sweeper.pruner=median", "checkpoint.every_steps=5"),
    *("hydra.sweeper.pruners.median.n_startup_trials=2", "budget.train_tokens=24000"),
]


def studies(folder: Path) -> dict[str, list[optuna.trial.FrozenTrial]]:
    """The trials of each arm's study."""
    [path] = (folder / "runs" / "tunings").glob("*.json")
    sweep = read(path, TuningRecord)
    return {arm: study.get_trials() for arm, study in studies_of(sweep, folder / "runs").items()}


def kill_at_random(folder: Path, kills: int, random_numbers: random.Random) -> Counter[str]:
    """Starts the tuning and kills it, so often; how often which way."""
    done: Counter[str] = Counter()
    while sum(done.values()) < kills:
        process = subprocess.Popen(
            command(folder, *WORDS), cwd=folder, start_new_session=True, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + random_numbers.uniform(4.0, 14.0)
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        if process.poll() is not None:
            # It was over before it was killed often enough.
            break
        if random_numbers.random() < 0.5:
            os.killpg(process.pid, signal.SIGKILL)
            done["with its trials"] += 1
        else:
            process.kill()
            done["alone"] += 1
        process.wait()
    return done


def problems(folder: Path) -> list[str]:
    """What is wrong in the end."""
    found = []
    for arm, trials in studies(folder).items():
        states = Counter(trial.state.name for trial in trials)
        if set(states) - {"COMPLETE", "PRUNED"} or len(trials) != CANDIDATES:
            found.append(f"{arm}: {dict(states)}, and {CANDIDATES} were to come to an end")
        for trial in trials:
            path = folder / "runs" / trial.user_attrs["trial_id"]
            record: dict[str, Any] = json.loads((path / "record.json").read_text())
            if record["status"] != {"COMPLETE": "finished", "PRUNED": "pruned"}[trial.state.name]:
                found.append(f"{path.name}: {record['status']}, and its study says {trial.state.name}")
            ended = [attempt["ended"] for attempt in record["attempts"]]
            if ended.count("finished") + ended.count("pruned") != 1:
                found.append(f"{path.name}: ended {ended}, and one of these is an end")
            rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
            steps = [row["step"] for row in rows]
            if steps != sorted(set(steps)):
                found.append(f"{path.name}: logged a step twice")
    return found


def main() -> int:
    """Prints what was killed and what is wrong. Returns 1 if something is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_text(folder / "text", 40, seed=0)
        done = kill_at_random(folder, given.kills, random.Random(given.seed))
        last = subprocess.run(command(folder, *WORDS), cwd=folder, capture_output=True, text=True)
        found = problems(folder) if last.returncode == 0 else [last.stdout + last.stderr]
        print(f"killed {sum(done.values())} times: {dict(done)}; {len(found)} problems")
        for problem in found:
            print(f"  {problem}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
