"""Several commands on one ledger, killed at random: each cell ends finished exactly once, and no lease is left.

    python tests/integration/race.py [--processes 8] [--cells 100] [--kills 30] [--seed 0]

Every process runs the same command, `python -m ablate -m …`. Every few seconds, up to a number of kills, SIGKILL kills
one of the processes: a command, or the supervisor or worker of a trial. A killed command is started again. The figures
printed at the end are read from the ledger: how often each cell finished, and which of its attempts overlapped.
"""

import argparse
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))

from ablate.records.metrics import read_metrics
from tests.support.command_line import command
from tests.support.text import write_text

PAUSE_SECONDS = (0.5, 3.0)
FIRST_LOOK_SECONDS = 0.02


@dataclass
class Race:
    """The processes, and what was done to them."""

    folder: Path
    cells: int
    chance: random.Random
    commands: list[subprocess.Popen[bytes]] = field(default_factory=list)
    killed_commands: int = 0
    killed_trials: int = 0

    def run(self, processes: int, kills: int, limit_seconds: float) -> None:
        """Runs until every command ended by itself. Raises TimeoutError."""
        write_text(self.folder / "text", 40, seed=0)
        # The first makes the shards, before the others race.
        self._start(1).wait(limit_seconds)
        self.commands = [self._start(self.cells) for _ in range(processes)]
        deadline = time.monotonic() + limit_seconds
        while any(one.poll() is None for one in self.commands):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{limit_seconds:.0f} s were not enough")
            if self.killed_commands + self.killed_trials < kills:
                self._kill_one()
            # A small race may be over before a moment by chance: the first kill takes the first that there is.
            time.sleep(self.chance.uniform(*PAUSE_SECONDS) if self.killed_commands else FIRST_LOOK_SECONDS)

    def _start(self, cells: int) -> "subprocess.Popen[bytes]":
        seeds = ",".join(map(str, range(100, 100 + cells)))
        words = command(
            self.folder,
            *("-m", "objective=causal", f"seed={seeds}", "budget.train_tokens=3200", "tracking.wandb=disabled"),
            *("checkpoint.every_steps=3", "hardware.parallel_trials=1", "evaluation.val_evaluations=0"),
        )
        with (self.folder / f"command-{time.monotonic_ns()}.log").open("wb") as log:
            return subprocess.Popen(words, cwd=self.folder, stdout=log, stderr=log, start_new_session=True)

    def _kill_one(self) -> None:
        """Kills a trial that is being run: its process alone, or its whole command, as when a machine goes away.

        The first kill is of a whole command, because only then nobody is left to record how the attempt ended.
        """
        leases = self._leases()
        if not leases:
            return
        pid = int(json.loads(self.chance.choice(leases))["pid"])
        try:
            group = os.getpgid(pid)
            if self.killed_commands and self.chance.random() < 0.5:
                # Its supervisor or its worker: both are children of the command's fork server.
                server = psutil.Process(pid).parent()
                processes = [child.pid for child in server.children()] if server is not None else []
                os.kill(self.chance.choice(processes or [pid]), signal.SIGKILL)
                self.killed_trials += 1
                return
            places = [place for place, one in enumerate(self.commands) if one.pid == group]
            if not places:
                # Of a command that was killed before, and not yet reaped.
                return
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, psutil.NoSuchProcess):
            return
        self.killed_commands += 1
        [place] = places
        self.commands[place].wait()
        self.commands[place] = self._start(self.cells)

    def _leases(self) -> list[str]:
        """The leases of trials whose attempt has begun."""
        found = []
        for path in (self.folder / "runs").glob("*/lease.*"):
            try:
                if json.loads((path.parent / "record.json").read_text())["status"] == "running":
                    found.append(path.read_text())
            except FileNotFoundError:
                continue
        return [text for text in found if text.endswith("}")]

    def records(self) -> list[dict[str, Any]]:
        """The records of all trials."""
        return [json.loads(path.read_text()) for path in sorted((self.folder / "runs").glob("*/record.json"))]

    def problems(self) -> list[str]:
        """What should not be."""
        records = self.records()
        found = [f"{len(records)} trials instead of {self.cells}"] if len(records) != self.cells else []
        for record in records:
            attempts = record["attempts"]
            ends = [attempt.get("ended") for attempt in attempts]
            if None in ends:
                found.append(f"{record['trial_id']}: nobody recorded how an attempt ended: {ends}")
            if ends.count("finished") != 1 or record["status"] != "finished":
                found.append(f"{record['trial_id']}: {record['status']}, {ends}, {record.get('failure')}")
            for earlier, later in itertools.pairwise(attempts):
                if earlier.get("ended_at", 0) > later["started_at"]:
                    found.append(f"{record['trial_id']}: two attempts at once")
            steps = [row["step"] for row in read_metrics(self.folder / "runs" / record["trial_id"] / "metrics.jsonl")]
            if steps != sorted(set(steps)):
                found.append(f"{record['trial_id']}: a step is logged twice: {steps}")
        found += [f"a lease is left: {path}" for path in (self.folder / "runs").glob("*/lease.*")]
        return found

    def died(self) -> int:
        """How many attempts ended with their process, as a later command found out."""
        return sum(attempt.get("ended") == "died" for record in self.records() for attempt in record["attempts"])


def main() -> int:
    """Prints what happened; exit code 1 where anything should not have."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit-seconds", type=float, default=1800)
    chosen = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        race = Race(Path(folder), chosen.cells, random.Random(chosen.seed))
        try:
            race.run(chosen.processes, chosen.kills, chosen.limit_seconds)
        finally:
            for one in race.commands:
                if one.poll() is None:
                    os.killpg(one.pid, signal.SIGKILL)
        problems = race.problems()
        attempts = sum(len(record["attempts"]) for record in race.records())
        ends = sorted(one.returncode for one in race.commands)
    print(
        f"{chosen.processes} commands × {chosen.cells} cells, {race.killed_commands} commands and {race.killed_trials} "
        f"trials killed, {attempts} attempts, exit codes {ends}, {time.monotonic() - started:.0f} s."
    )
    print("\n".join(problems) or "Each cell finished exactly once; no lease is left.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
