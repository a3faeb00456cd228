"""Grids on a real Slurm of one node: whatever happens to jobs and commands, each cell is finished exactly once."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.metrics import read_metrics
from ablate.records.trial import Status
from ablate.verbs.status import TrialStatus
from tests.support.benchmarks import write_problems
from tests.support.command_line import ablate, start, wait_for
from tests.support.in_process import run_in_process
from tests.support.slurm_cluster import Cluster, running_cluster, why_not
from tests.support.text import write_text

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "Slurm is here")
GRID = ["-m", "hardware.devices=2", "budget.rows_per_step=5", "tracking.log_every_steps=1"]
SLURM = ["launcher=slurm", "launcher.poll_seconds=0.5", "launcher.time=60", "launcher.signal_seconds=60"]
# Of so many steps, events happen after so many.
STEPS, FIRST_STEPS = 300, 5
LONG = [f"budget.train_tokens={STEPS * 5 * 40}", "checkpoint.every_steps=50"]
SHORT = [f"budget.train_tokens={STEPS // 3 * 5 * 40}", "checkpoint.every_steps=20"]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with running_cluster() as cluster:
        monkeypatch.setenv("SLURM_CONF", str(cluster.folder / "slurm.conf"))
        yield cluster


@dataclass
class Grid:
    """A grid in a folder of its own, and what is done to it."""

    folder: Path
    cluster: Cluster
    options: list[str] = field(default_factory=list)
    commands: "list[subprocess.Popen[str]]" = field(default_factory=list)

    def __post_init__(self) -> None:
        write_text(self.folder / "text", 40, seed=0)

    @property
    def words(self) -> list[str]:
        return [*GRID, *self.options, *SLURM]

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.folder / "runs")

    def start(self, *words: str) -> "subprocess.Popen[str]":
        self.commands.append(start(self.folder, *self.words, *words))
        return self.commands[-1]

    def running(self, but: set[str]) -> tuple[TrialFolder, str] | None:
        """A trial that trains and has not been chosen before, and the number of its job."""
        for folder in self.ledger.trials():
            if folder.trial_id not in but and folder.status == Status.RUNNING and folder.is_locked:
                job = TrialStatus.of(folder).job
                if job is not None and len(read_metrics(folder.metrics_path)) > FIRST_STEPS:
                    return folder, job
        return None

    def next_running(self, chosen: set[str]) -> tuple[TrialFolder, str]:
        wait_for(lambda: self.running(chosen), 240)
        running = self.running(chosen)
        assert running is not None
        chosen.add(running[0].trial_id)
        return running

    def check(self, expected: int) -> None:
        """Each cell is finished once, and nothing is left of it."""
        folders = list(self.ledger.trials())
        assert len(folders) == expected
        for folder in folders:
            record = folder.record()
            assert record.status == Status.FINISHED, folder.trial_id
            assert [attempt.ended for attempt in record.attempts].count("finished") == 1
            assert record.attempts[-1].ranks == 2
            steps = [row["step"] for row in read_metrics(folder.metrics_path) if "train/loss" in row]
            assert steps == list(range(1, steps[-1] + 1))
            assert not list(folder.path.glob("lease.*"))
        # Slurm notes the end of a job a little after its process.
        wait_for(lambda: not self.cluster.jobs())

    def check_lesson(self) -> None:
        """The lesson is that of the local launcher, to the last digit."""
        other = self.folder / "local"
        local = [*GRID, *self.options, "hardware.parallel_trials=1", f"runs_dir={other}"]
        assert ablate(self.folder, *local).returncode == 0
        lessons = [
            run_in_process(self.folder, "lessons", "--json", f"runs_dir={runs}")
            for runs in (self.ledger.runs_dir, other)
        ]
        ours, theirs = (json.loads(done.stdout)["lessons"][0] for done in lessons)
        assert ours["comparisons"] == theirs["comparisons"]
        for folder in self.ledger.trials():
            record, expected = folder.record(), Ledger(other).trial(folder.trial_id).record()
            assert record.evaluations == expected.evaluations


@pytest.fixture
def grid(cluster: Cluster, tmp_path: Path) -> Iterator[Grid]:
    grid = Grid(tmp_path, cluster)
    yield grid
    for command in grid.commands:
        if command.poll() is None:
            os.killpg(command.pid, signal.SIGKILL)
            command.communicate()


def ended(command: "subprocess.Popen[str]", code: int = 0) -> str:
    out, err = command.communicate(timeout=600)
    assert command.returncode == code, out + err
    return out + err


def test_a_preempted_trial_goes_on_and_a_command_comes_back(grid: Grid) -> None:
    grid.options = ["objective=prefix", "replicates=1", *SHORT]
    text = ended(grid.start("--detach"))
    assert "slurm has 1 job of this command" in text
    folder, job = grid.next_running(set())
    grid.cluster.call("scontrol", "requeue", job)
    text = ended(grid.start())
    assert "Waiting for 1 trial that other processes run" in text
    grid.check(1)
    attempts = folder.record().attempts
    assert [attempt.ended for attempt in attempts] == ["pending", "finished"]
    assert attempts[1].from_step
    assert len(list((grid.ledger.runs_dir / "jobs").iterdir())) == 1, "submitted once"


@pytest.mark.slow
def test_whatever_happens_each_cell_is_finished_once_with_the_local_lesson(grid: Grid) -> None:
    grid.options = ["objective=causal,prefix", "replicates=3", *LONG]
    cluster, chosen = grid.cluster, set[str]()
    # Two commands at once.
    first, second = grid.start(), grid.start()

    def preempt(job: str) -> None:
        cluster.call("sbatch", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap=sleep 3")

    def lose_node(job: str) -> None:
        cluster.call("scontrol", "update", f"NodeName={cluster.host}", "State=DOWN", "Reason=test")
        cluster.resume_node()

    def run_out_of_time(job: str) -> None:
        # Stopped, so that the trial doesn't end before Slurm looks at the clock, which it does twice a minute.
        cluster.call("scancel", "--signal=STOP", f"{job}.0")
        cluster.call("scontrol", "update", f"JobId={job}", "TimeLimit=1")

    events: dict[str, Callable[[str], object]] = {
        "requeue": lambda job: cluster.call("scontrol", "requeue", job),
        "killed step": lambda job: cluster.call("scancel", "--signal=KILL", f"{job}.0"),
        "preemption": preempt,
        "node down": lose_node,
        "time limit": run_out_of_time,
    }
    what: dict[str, TrialFolder] = {}
    for name, event in events.items():
        folder, job = grid.next_running(chosen)
        what[name] = folder
        event(job)
        if name == "killed step":
            # The command, too, without a word.
            os.killpg(first.pid, signal.SIGKILL)
            first.communicate()
            first = grid.start()
    for command in (first, second):
        # The cell of the killed step failed, and a command does not try one twice.
        out, err = command.communicate(timeout=600)
        assert command.returncode in (0, 1), out + err
    ended(grid.start())
    grid.check(6)
    assert "died" in [attempt.ended for attempt in what["killed step"].record().attempts]
    for name in ("requeue", "preemption", "time limit"):
        assert "pending" in [attempt.ended for attempt in what[name].record().attempts], name
    grid.check_lesson()


@pytest.mark.slow
def test_what_slurm_rejects_is_told_and_cancel_leaves_saved_trials(grid: Grid) -> None:
    grid.options = ["objective=causal,prefix", "replicates=1", *LONG]
    assert "launcher.partition=lo: no such partition. Did you mean low?" in ended(
        grid.start("launcher.partition=lo"), 2
    )
    text = ended(grid.start("launcher.gres=gpu:3"), 1)
    assert "Slurm rejected 2 jobs: " in text
    assert "Nothing was submitted." in text
    assert {folder.status for folder in grid.ledger.trials()} == {Status.PENDING}
    ended(grid.start("--detach"))
    folder, _ = grid.next_running(set())
    assert ablate(grid.folder, "cancel", *GRID, *grid.options).returncode == 0
    wait_for(lambda: not grid.cluster.jobs())
    assert {TrialStatus.of(folder).status for folder in grid.ledger.trials()} == {Status.PENDING}
    assert folder.checkpoints.newest_step
    ended(grid.start())
    grid.check(2)


@pytest.mark.slow
def test_an_evaluation_is_a_job_per_trial(cluster: Cluster, tmp_path: Path) -> None:
    grid = Grid(tmp_path, cluster)
    done = ablate(tmp_path, "-m", "seed=0,1")
    assert done.returncode == 0, done.stdout + done.stderr
    write_problems(tmp_path / "passages.jsonl", [{"text": "the cat sat"}, {"text": "a dog ran"}])
    words = ["evaluate", "suites=lambada", "evaluation.suites.lambada.file=passages.jsonl", *SLURM]
    done = run_in_process(tmp_path, *words, grid.ledger.grids()[0].grid_id)
    assert done.returncode == 0, done.stdout + done.stderr
    for trial in grid.ledger.trials():
        record = trial.record()
        assert record.status == Status.FINISHED
        assert any("lambada_bpb" in scores for scores in record.evaluations.values())
        submission = record.attempts[-1].submission
        assert submission is not None
        assert submission.launcher == "slurm"
