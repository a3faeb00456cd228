"""Kills `ablate evaluate` by SIGKILL at random moments, and compares what it ends in with a run that nobody killed.

    python tests/integration/evaluation_kills.py [--kills 20] [--samples 12] [--seed 0]

A tiny trial writes programs for three problems in HumanEval's form and for their lines, and the programs run in the
sandbox. An evaluation is killed up to three times and continued until it is done; then another one begins. Each kill
hits the command, the trial's supervisor, its worker, or all of them, and the same command starts again. Moments are
random within equal parts of the work, which is counted in samples and verdicts on disk. In the end the scores, programs
and verdicts must be those of the run that nobody killed, each sample must be stored once, and what was stored at a kill
must still be there.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))

from ablate.records.ledger import Ledger, TrialFolder
from tests.support.benchmarks import write_problems
from tests.support.command_line import ablate
from tests.support.forked import fork
from tests.support.text import write_text

SUITES = ("humaneval", "humaneval_single_line")
KILLS_PER_EVALUATION = 3
LIMIT_SECONDS = 300
LOOK_SECONDS = 0.005


class Command(Protocol):
    """A command that runs."""

    @property
    def pid(self) -> int:
        """Its process id."""

    def wait(self, seconds: float, /) -> object:
        """Wait until it has ended."""


def start_interpreter(folder: Path, *words: str) -> "subprocess.Popen[bytes]":
    """Start `python -m ablate` with a fork server of its own."""
    with (folder / "printed").open("ab") as printed:
        return subprocess.Popen(
            [sys.executable, "-m", "ablate", *words], cwd=folder, stdout=printed, stderr=printed, start_new_session=True
        )


@dataclass
class EvaluationKills:
    """The evaluation, and what was done to it.

    Attributes:
        samples: of each problem.
        start: starts the command; by default in a child of the tests' fork server.
        kills: by process, how often.
        evaluations: how many were killed.
        problems: what differs from a run that nobody killed.
    """

    folder: Path
    chance: random.Random
    samples: int
    start: Callable[..., Command] = fork
    kills: Counter[str] = field(default_factory=Counter)
    evaluations: int = 0
    problems: list[str] = field(default_factory=list)

    def run(self, kills: int) -> None:
        """Train, score without a kill, score again with this many kills, and compare."""
        write_text(self.folder / "text", 40, seed=0)
        write_problems(self.folder / "problems.jsonl")
        trained = ablate(self.folder, "-m", "objective=causal", "infill=psm", "infill.rate=0.5", "seed=0")
        assert trained.returncode == 0, trained.stdout + trained.stderr
        shutil.copytree(self.folder / "runs", self.folder / "undisturbed")
        self._start("undisturbed").wait(LIMIT_SECONDS)
        expected, work = self._result("undisturbed"), self._work("undisturbed")
        assert work[0] == self.samples * 9, "three problems and their six lines"
        suites = expected["scores"].keys()
        while sum(self.kills.values()) < kills:
            runs = f"killed-{self.evaluations}"
            self.evaluations += 1
            shutil.copytree(self.folder / "runs", self.folder / runs)
            shutil.rmtree(self.folder / "cache" / "verdicts")
            planned = min(KILLS_PER_EVALUATION, kills - sum(self.kills.values()))
            for number in range(planned):
                self._kill(runs, suites, int(sum(work) * (number + self.chance.random()) / (planned + 1)))
            # A command does not try a trial again whose process was killed: a second one does.
            for _ in range(2):
                if not self._is_scored(runs, suites):
                    self._start(runs).wait(LIMIT_SECONDS)
            result = self._result(runs)
            self.problems += [f"{runs}: {part} differs" for part, value in expected.items() if result[part] != value]

    def _start(self, runs: str) -> Command:
        words = [f"suites={','.join(SUITES)}", f"runs_dir={runs}", "evaluation.rows_per_batch=2"]
        for suite in SUITES:
            key = f"evaluation.suites.{suite}"
            words += [f"{key}.samples={self.samples}", f"{key}.temperature=1.0", f"{key}.file=problems.jsonl"]
        return self.start(self.folder, "evaluate", *words, self._trial(runs).trial_id)

    def _trial(self, runs: str) -> TrialFolder:
        [trial] = Ledger(self.folder / runs).trials()
        return trial

    def _stored(self, runs: str) -> dict[str, bytes]:
        """Return the whole lines of each file of samples."""
        return {
            path.name: path.read_bytes().rpartition(b"\n")[0]
            for path in (self._trial(runs).path / "evaluations").glob("*.samples.jsonl")
        }

    def _work(self, runs: str) -> tuple[int, int]:
        """Return how many samples and how many verdicts are on disk."""
        lines = sum(len(content.splitlines()) for content in self._stored(runs).values())
        return lines, sum(1 for _ in (self.folder / "cache" / "verdicts").glob("*/*.json"))

    def _is_scored(self, runs: str, suites: Collection[str]) -> bool:
        return set(suites) <= self._trial(runs).record().evaluations.keys()

    def _kill(self, runs: str, suites: Collection[str], moment: int) -> None:
        """Start the command, wait until this much work is done, and kill a process, unless all is done by then."""
        command, deadline = self._start(runs), time.monotonic() + LIMIT_SECONDS
        trial = self._trial(runs)
        while sum(self._work(runs)) < moment or not list(trial.path.glob("lease.*")):
            if self._is_scored(runs, suites):
                # After the death of a command its trial goes on, and may be done before the next kill.
                command.wait(LIMIT_SECONDS)
                return
            assert time.monotonic() < deadline, "the command does not go on"
            time.sleep(LOOK_SECONDS)
        processes = self._processes(command, trial)
        name = self.chance.choice(["all", *sorted(processes)])
        for pid in processes.values() if name == "all" else [processes[name]]:
            os.kill(pid, signal.SIGKILL)
        stored = self._stored(runs)
        self.kills[name] += 1
        command.wait(LIMIT_SECONDS)
        for file, lines in stored.items():
            if not self._stored(runs)[file].startswith(lines):
                self.problems.append(f"{file}: samples that were stored at kill {sum(self.kills.values())} are gone")

    def _processes(self, command: Command, trial: TrialFolder) -> dict[str, int]:
        """Return the processes of the command and of its trial, which print to the trial's log."""
        pids = {"command": command.pid}
        supervisors = {json.loads(path.read_text())["pid"] for path in trial.path.glob("lease.*")}
        for process in psutil.process_iter():
            try:
                if str(trial.log_path) in {file.path for file in process.open_files()}:
                    pids["supervisor" if process.pid in supervisors else "worker"] = process.pid
            except psutil.Error:
                continue
        return pids

    def _result(self, runs: str) -> dict[str, Any]:
        """Return what the evaluation ended in, and note samples that were written twice."""
        trial = self._trial(runs)
        record = trial.record()
        suites = sorted(path.name.partition(".")[0] for path in (trial.path / "evaluations").glob("*.samples.jsonl"))
        assert len(suites) == len(SUITES), f"{suites} in {runs}"
        samples: dict[str, list[str]] = {}
        for suite in suites:
            lines = trial.evaluation_path(suite).with_suffix(".samples.jsonl").read_text().splitlines()
            keys = Counter((sample["problem"], sample["sample"]) for sample in map(json.loads, lines))
            self.problems += [f"{runs}: {key} was stored {times} times" for key, times in keys.items() if times > 1]
            samples[suite] = sorted(lines)
        if leases := list(trial.path.glob("lease.*")):
            self.problems.append(f"{runs}: {leases} are left")
        tables = {suite: trial.evaluation_path(suite) for suite in suites}
        return {
            "samples": samples,
            "scores": {suite: record.evaluations.get(suite) for suite in suites},
            "documents": {suite: pd.read_parquet(path).to_dict() for suite, path in tables.items()},
            "verdicts": {
                suite: pd.read_parquet(path.with_suffix(".programs.parquet")).to_dict()
                for suite, path in tables.items()
            },
        }


def main() -> int:
    """Print what was killed and what differs. Returns 1 if anything does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--samples", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        kills = EvaluationKills(Path(folder), random.Random(arguments.seed), arguments.samples, start_interpreter)
        kills.run(arguments.kills)
    seconds = time.monotonic() - started
    print(f"{kills.evaluations} evaluations, {sum(kills.kills.values())} kills: {dict(kills.kills)}; {seconds:.0f} s")
    print("\n".join(kills.problems) or "Scores, samples and verdicts are those of a run that nobody killed.")
    return int(bool(kills.problems))


if __name__ == "__main__":
    sys.exit(main())
