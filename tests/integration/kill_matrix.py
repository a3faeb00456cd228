"""Kills trials by SIGKILL at chosen and at random moments, and compares what they end in with an uninterrupted run.

    python tests/integration/kill_matrix.py [--kills 200] [--seed 0] [--ranks]

Each trial is killed a few times, goes on after each kill as the command line would (same ledger, new process), and at
the end its weights, its log (`speed/*` aside), its counters and its scores must equal those of a trial that nobody
killed, bit for bit. A process kills itself at the n-th time that it passes a place, so that every place is really hit:
the worker, or for what the supervisor does, that. With `--ranks`, trials run on two devices, and any rank is killed.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from ablate.config.parse import composed_from_container, trial_to_container
from ablate.config.trial import TrialConfig
from ablate.data.batches.mixture import BLOCK_ROWS, Mixture
from ablate.grid.resolve import Resolver
from ablate.identity import trial_id
from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.trial import Status, TrialRecord
from ablate.scheduling import supervisor, workers
from ablate.scheduling.job import Job
from ablate.scheduling.processes import start_process, start_server
from ablate.scheduling.reconcile import died
from ablate.training.messages import Assignment
from tests.support.text import write_text
from tests.support.trials import small_container

Arm = Callable[[random.Random], None]

STEPS = 60
KILLS_PER_TRIAL = 5
# Rows of a step, workers and micro-batches; together they hold what can be in flight when a process dies.
SCENARIOS = {
    "causal, 0 workers": ["objective=causal"],
    "mixed, 0 workers, 4 micro-batches": ["objective=mixed", "hardware.micro_batch_rows=1"],
    "mixed, 2 workers": ["objective=mixed", "hardware.loader_workers=2"],
    "prefix, 2 workers, 2 micro-batches": [
        "objective=prefix",
        "hardware.loader_workers=2",
        "hardware.micro_batch_rows=2",
    ],
}


# Two ranks, and rows that they do not divide.
RANK_SCENARIOS = {
    f"mixed, 2 ranks, {strategy}, {rows} rows": [
        "objective=mixed",
        "hardware.devices=2",
        f"hardware.strategy={strategy}",
        "hardware.micro_batch_rows=1",
        f"budget.rows_per_step={rows}",
    ]
    for strategy, rows in (("ddp", 4), ("fsdp", 4), ("ddp", 3), ("fsdp", 3))
}


def kill_self() -> None:
    """Dies at once, with no word."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(10)


def die_in_call(owner: Any, name: str, number: int, *, after: bool = False) -> None:
    """From the n-th call of a function, dies before it, or after it."""
    function, calls = getattr(owner, name), Counter[str]()

    def counted(*arguments: Any, **named: Any) -> Any:
        calls["all"] += 1
        if calls["all"] == number and not after:
            kill_self()
        result = function(*arguments, **named)
        if calls["all"] == number:
            kill_self()
        return result

    setattr(owner, name, counted)


def at_random(chance: random.Random) -> None:
    """At any moment of the run, its start and its scoring among them."""
    seconds = chance.uniform(0.05, 2.5)
    timer = threading.Timer(seconds, kill_self)
    # A run that is over sooner is none that was killed.
    timer.daemon = True
    timer.start()


def in_state_file(chance: random.Random) -> None:
    """A save's file of tensors is half written."""
    from torch.distributed.checkpoint.filesystem import FileSystemWriter

    write, calls, number = FileSystemWriter.write_data, Counter[str](), chance.randint(1, 6)

    def half(writer: Any, *arguments: Any) -> Any:
        written = write(writer, *arguments)
        calls["all"] += 1
        if calls["all"] == number:
            path = max(Path(writer.path).glob("__*"), key=lambda path: path.stat().st_mtime_ns)
            os.truncate(path, path.stat().st_size // 2)
            kill_self()
        return written

    setattr(FileSystemWriter, "write_data", half)  # noqa: B010


def before_marker(chance: random.Random) -> None:
    """A save's files are written, its marker is not."""
    from ablate.records import checkpoints

    die_in_call(checkpoints, "write_json", chance.randint(1, 6))


def before_rename(chance: random.Random) -> None:
    """A save is complete and has not got its name."""
    from ablate.records import checkpoints

    die_in_call(checkpoints.Checkpoints, "_remove", chance.choice([1, 2, 3, 5, 7]))


def while_old_ones_go(chance: random.Random) -> None:
    """A save has its name, and an old one is half removed."""
    import shutil

    die_in_call(shutil, "rmtree", chance.randint(2, 12))


def in_log_line(chance: random.Random) -> None:
    """Half a line of the log is written."""
    from ablate.records.metrics import MetricsWriter

    append, calls, number = MetricsWriter.append, Counter[str](), chance.randint(1, 25)

    def half(writer: Any, step: int, values: dict[str, Any]) -> None:
        calls["all"] += 1
        if calls["all"] == number:
            writer._file.write(b'{"step": %d, "progr' % step)
            kill_self()
        append(writer, step, values)

    setattr(MetricsWriter, "append", half)  # noqa: B010


def mid_accumulation(chance: random.Random) -> None:
    """Some micro-batches of a step have added their gradients."""
    from ablate.training.module import TrialModule

    die_in_call(TrialModule, "manual_backward", chance.randint(1, 100), after=True)


def mid_update(chance: random.Random) -> None:
    """The weights are changed, the counters are not."""
    from torch.optim import AdamW

    die_in_call(AdamW, "step", chance.randint(1, STEPS), after=True)


@dataclass(frozen=True)
class AtStep:
    """Before or after one of these steps, counted from 1."""

    steps: frozenset[int]
    is_after: bool

    def __call__(self, chance: random.Random) -> None:
        """Prepares this process to die there."""
        from ablate.training.module import TrialModule

        step, chosen, is_after = TrialModule.training_step, chance.choice(sorted(self.steps)), self.is_after

        def counted(module: Any, batch: Any, number: int) -> None:
            is_chosen = module.counters.steps + 1 == chosen
            if is_chosen and not is_after:
                kill_self()
            step(module, batch, number)
            if is_chosen:
                kill_self()

        setattr(TrialModule, "training_step", counted)  # noqa: B010


def before_weights(chance: random.Random) -> None:
    """The last step is taken, its weights are not written."""
    from ablate.training import trial

    die_in_call(trial, "replacing", 1)


def before_record(chance: random.Random) -> None:
    """The weights are written, the record does not know."""
    from ablate.scheduling import recorder

    die_in_call(recorder, "write_parquet", 1, after=chance.random() < 0.5)


def before_sync(chance: random.Random) -> None:
    """A checkpoint waits for the log to be on the disk."""
    from ablate.records.metrics import MetricsWriter

    die_in_call(MetricsWriter, "sync", chance.randint(1, 6), after=chance.random() < 0.5)


def mid_scoring(chance: random.Random) -> None:
    """Trained and recorded, half scored."""
    from ablate.evaluation import evaluator

    die_in_call(evaluator.Evaluator, "score", 1, after=chance.random() < 0.5)


@dataclass
class Matrix:
    """What was done and what came out.

    Attributes:
        kills: by place, how often.
        by_process: how often the worker died, and how often the supervisor.
        differences: by scenario, what was not equal.
        torn: how many checkpoints were torn after a kill.
    """

    root: Path
    chance: random.Random
    scenarios: Mapping[str, list[str]] = field(default_factory=lambda: SCENARIOS)
    kills: Counter[str] = field(default_factory=Counter)
    by_process: Counter[str] = field(default_factory=Counter)
    by_scenario: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    trials: int = 0
    misses: int = 0
    torn: int = 0

    def trial(self, scenario: str) -> TrialConfig:
        """The trial of a scenario, made once from overrides as on the command line."""
        texts = {"code": self.root / "code", "english": self.root / "english"}
        if not texts["code"].exists():
            # Little text, so that a run passes several epochs.
            write_text(texts["code"], 14, 1)
            write_text(texts["english"], 14, 2)
        rows = 3 if "budget.rows_per_step=3" in self.scenarios[scenario] else 4
        tokens = STEPS * rows * 40
        stages = "mixture.stages=[{from_fraction:0.5,weights:{code:3,english:1}}]"
        overrides = [*self.scenarios[scenario], f"budget.train_tokens={tokens}", "checkpoint.every_steps=4", stages]
        container = small_container(texts, self.root / "cache", *overrides)
        return Resolver(self.root, lambda message: None)(composed_from_container(container).trial)

    def places(self, trial: TrialConfig) -> dict[str, Arm]:
        """Every place at which a run of this trial is killed, by its name in the table."""
        epochs = epoch_borders(trial)
        stage = Mixture.of(trial.mixture, trial.data_seed, trial.budget_rows).stages[1].first_block * BLOCK_ROWS
        stage_step = stage // trial.budget.rows_per_step
        warmup = max(1, round(trial.schedule.warmup_fraction * STEPS))
        return {
            "any moment": at_random,
            "in a save: the state half written": in_state_file,
            "in a save: before its marker": before_marker,
            "in a save: before its rename": before_rename,
            "in a save: while old ones go": while_old_ones_go,
            "in a line of the log": in_log_line,
            "between micro-batches": mid_accumulation,
            "weights changed, counters not": mid_update,
            "at an epoch's border": AtStep(frozenset(epochs), is_after=False),
            "at a stage's border": AtStep(frozenset({stage_step, stage_step + 1}), is_after=True),
            "at the end of the warm-up": AtStep(frozenset({warmup, warmup + 1}), is_after=True),
            "in the last step": AtStep(frozenset({STEPS}), is_after=False),
            "after the last step": AtStep(frozenset({STEPS}), is_after=True),
            "before the weights are written": before_weights,
            "before the record knows of them": before_record,
            "before the log is on the disk": before_sync,
            "while it is scored": mid_scoring,
        }

    def run(self, kills: int) -> None:
        """Kills so often in all, over the scenarios in turn, and compares every trial that was killed."""
        expected: dict[str, Any] = {}
        while sum(self.kills.values()) < kills:
            scenario = list(self.scenarios)[self.trials % len(self.scenarios)]
            trial = self.trial(scenario)
            if scenario not in expected:
                # In a ledger of its own: micro-batches are operational, but they change the last bits.
                folder = self._run_killed(scenario, trial, f"uninterrupted-{len(expected)}", 0)
                expected[scenario] = self._result(folder)
            count = min(KILLS_PER_TRIAL, kills - sum(self.kills.values()))
            folder = self._run_killed(scenario, trial, f"killed-{self.trials}", count)
            found = self._result(folder)
            for part, value in expected[scenario].items():
                if not is_equal(value, found[part]):
                    self.differences.append(f"{scenario}, trial {self.trials}: {part}")
            self.trials += 1

    def _run_killed(self, scenario: str, trial: TrialConfig, name: str, kills: int) -> TrialFolder:
        ledger = Ledger(self.root / name)
        found = trial_id(trial)
        ledger.freeze(TrialRecord(found), trial_to_container(trial))
        folder, places = ledger.trial(found), self.places(trial)
        while kills > 0 and folder.status != Status.FINISHED:
            # The places that were hit least come first; what a run has behind it can't be hit.
            place = min(places, key=lambda name: (self.kills[name], self.chance.random()))
            code = run_child(folder, places[place], self.chance.randrange(2**32))
            killed = killed_process(folder, code)
            if killed:
                self.kills[place] += 1
                self.by_process[killed] += 1
                self.by_scenario[scenario] += 1
                kills -= 1
                self.torn += tear_newest(folder)
            else:
                assert code == 0, f"{place}: exit code {code}\n{folder.log_path.read_text()}"
                self.misses += 1
        if folder.status != Status.FINISHED:
            code = run_child(folder, None, 0)
            assert code == 0, f"exit code {code}\n{folder.log_path.read_text()}"
        return folder

    def _result(self, folder: TrialFolder) -> dict[str, Any]:
        import pandas as pd
        import torch

        from ablate.records.metrics import read_metrics

        record = folder.record()
        ends = [attempt.ended for attempt in record.attempts]
        assert ends.count("finished") == 1, ends
        assert not list(folder.path.glob("lease.*"))
        assert not folder.checkpoints.folder.exists()
        return {
            "weights": torch.load(folder.model_path, weights_only=True),
            "log": [
                {name: value for name, value in row.items() if not name.startswith("speed/")}
                for row in read_metrics(folder.metrics_path)
            ],
            "counters": record.result and vars(record.result.counters),
            "scores": record.evaluations,
            "documents": [pd.read_parquet(folder.evaluation_path(suite)).to_dict() for suite in record.evaluations],
        }

    def table(self) -> str:
        """Where, how often, differences."""
        lines = ["| killed | times |", "|---|---:|"]
        lines += [f"| {place} | {times} |" for place, times in sorted(self.kills.items(), key=lambda pair: -pair[1])]
        lines += [f"| **in all**, in {self.trials} trials | **{sum(self.kills.values())}** |", ""]
        lines += [
            "| trial | kills |",
            "|---|---:|",
            *(f"| {name} | {times} |" for name, times in self.by_scenario.items()),
        ]
        lines += ["", ", ".join(f"{times} of them in the {name}" for name, times in self.by_process.items()) + "."]
        lines += ["", f"Differences in weights, log, counters, scores: **{len(self.differences)}**."]
        return "\n".join([*lines, *self.differences])


def tear_newest(folder: TrialFolder) -> bool:
    """Cut the newest of several checkpoints in half, as a loss of power may; whether there was one.

    A kill alone leaves no torn checkpoint, because a checkpoint gets its name last.
    """
    paths = folder.checkpoints.paths()
    if len(paths) < 2:
        return False
    newest = paths[0]
    largest = max(newest.iterdir(), key=lambda path: path.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)
    return True


def epoch_borders(trial: TrialConfig) -> set[int]:
    """The steps, counted from 1, that hold the first row of a source's new epoch."""
    from ablate.data.batches.stream import Stream
    from ablate.data.tokens.shards import open_shards

    stream = Stream(open_shards(trial), trial)
    rows = trial.budget.rows_per_step
    found = set()
    for row in range(STEPS * rows):
        source, rank = stream.mixture.place(row)
        if rank > 0 and rank % stream.orders[source].read == 0:
            found.add(row // rows + 1)
    assert found, "the run passes no epoch"
    return found


def is_equal(first: Any, second: Any) -> bool:
    """Whether two results are equal bit for bit."""
    import torch

    if isinstance(first, dict):
        return first.keys() == second.keys() and all(is_equal(first[key], second[key]) for key in first)
    return torch.equal(first, second) if isinstance(first, torch.Tensor) else bool(first == second)


# What the supervisor does, and not the worker.
OF_SUPERVISOR: tuple[Arm, ...] = (in_log_line, before_record, before_sync)
# What rank 0 alone does.
OF_FIRST_RANK: tuple[Arm, ...] = (before_marker, before_rename, while_old_ones_go, before_weights)


def run_child(folder: TrialFolder, arm: Arm | None, seed: int) -> int:
    """Run the trial in processes of its own, one of which `arm` prepares to die; return the supervisor's exit code."""
    start_server()
    process = start_process("tests.integration.kill_matrix:supervise", folder, arm, seed, output=folder.log_path)
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def supervise(folder: TrialFolder, arm: Arm | None, seed: int) -> None:
    """Run in the supervisor's process."""
    chance = random.Random(seed)
    if arm is not None and (arm in OF_SUPERVISOR or (arm is at_random and chance.random() < 0.5)):
        arm(chance)
    elif arm is not None:
        victim = chance.random()

        def start_armed(function: str, assignment: Assignment, connection: Any, output: Path | None) -> Any:
            number = 0 if arm in OF_FIRST_RANK else int(victim * assignment.rank.count)
            chosen = arm if assignment.rank.number == number else None
            return start_process(
                "tests.integration.kill_matrix:work", chosen, seed, assignment, connection, output=output
            )

        setattr(workers, "start_process", start_armed)  # noqa: B010
    if not supervisor.supervise(Job(folder.trial_id, folder.path.parent)):
        raise SystemExit(1)


def work(arm: Arm | None, seed: int, assignment: Assignment, connection: Any) -> None:
    """Run in the worker's process."""
    from ablate.training.worker import run_worker

    if arm is not None:
        arm(random.Random(seed))
    run_worker(assignment, connection)


def killed_process(folder: TrialFolder, code: int) -> str | None:
    """Return which process was killed; None if the run ended by itself."""
    if code == -signal.SIGKILL:
        return "supervisor"
    failure = folder.record().failure
    if code != 1 or failure is None or not failure.message.endswith(died(-signal.SIGKILL)):
        return None
    return failure.message.partition(" of ")[0] if failure.message.startswith("rank") else "worker"


def main() -> int:
    """Runs the matrix and prints its table; exit code 1 where anything differed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ranks", action="store_true", help="trials on two devices")
    chosen = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        scenarios = RANK_SCENARIOS if chosen.ranks else SCENARIOS
        matrix = Matrix(Path(root), random.Random(chosen.seed), scenarios)
        matrix.run(chosen.kills)
    print(matrix.table())
    print(
        f"\n{matrix.misses} runs ended before the place that they were to die at; {time.monotonic() - started:.0f} s."
    )
    return 1 if matrix.differences else 0


if __name__ == "__main__":
    sys.exit(main())
