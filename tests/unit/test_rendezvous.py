"""Ranks that torchrun or srun has started: which rank a process is, and what is refused before anything trains."""

import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ablate.errors import FailureError, UsageError
from ablate.ranks import Rank
from ablate.records.ledger import TrialFolder
from ablate.records.trial import Status
from ablate.scheduling import rendezvous
from ablate.scheduling.rendezvous import Hello, Place, connect, hello, listening, place_of, rank_of
from ablate.training.messages import Assignment
from tests.support.ranks import freeze, losses, on, run
from tests.support.trials import MakeTrial

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
SRUN = {
    "SLURM_NTASKS": "8",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
}


@pytest.mark.parametrize("environment", [TORCHRUN, SRUN])
def test_a_process_is_the_rank_that_it_was_started_as(environment: dict[str, str]) -> None:
    rank = rank_of(environment)
    assert rank == Rank(5, 8, 1, 4)
    assert (rank.node, rank.nodes, str(rank)) == (1, 2, "rank 5 of 8")


def test_sbatch_without_srun_starts_one_rank() -> None:
    assert rank_of({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}) == Rank()


def test_nodes_with_different_numbers_of_tasks_are_refused() -> None:
    with pytest.raises(UsageError, match=r"srun started 8 tasks on 3 nodes.*--ntasks-per-node=3"):
        rank_of(SRUN | {"SLURM_STEP_NUM_NODES": "3"})


def test_two_steps_of_a_job_meet_at_different_ports() -> None:
    job = {"SLURM_JOB_ID": "4711", "SLURM_STEP_NODELIST": "node[07-08]"}
    first, second = (place_of(job | {"SLURM_STEP_ID": step}) for step in ("0", "1"))
    assert first.host == "node07"
    assert first.port != second.port
    with pytest.raises(UsageError, match="MASTER_ADDR and MASTER_PORT are not set"):
        place_of({})


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        assert isinstance(port, int)
        return port


def test_a_port_in_use_is_named() -> None:
    own = Hello(0, "here", "code", "config")
    with (
        closing(socket.create_server(("0.0.0.0", 0))) as server,
        pytest.raises(FailureError, match=r"MASTER_PORT=\d+: cannot be opened .*Is it in use"),
        listening(Rank(0, 2, 0, 2), Place("127.0.0.1", server.getsockname()[1]), own),
    ):
        pass


@pytest.fixture
def assignment(make_trial: MakeTrial, tmp_path: Path) -> Assignment:
    folder, _ = freeze(on(make_trial(), 2, "ddp"), tmp_path / "runs")
    return Assignment(on(make_trial(), 2, "ddp"), folder, frozenset(), "test", is_trained=False, has_pruner=False)


def refused(assignment: Assignment, *others: Hello, rank: Rank = Rank(0, 2, 0, 2)) -> str:  # noqa: B008
    """Return what rank 0 says when these other ranks connect."""
    place, own = Place("127.0.0.1", free_port()), hello(rank, assignment.folder)
    orders: list[object] = []

    def join(other: Hello) -> None:
        connection = connect(Rank(other.number, 2, 1, 2), place, other)
        orders.append(connection.recv())

    with listening(rank, place, own) as workers:
        threads = [threading.Thread(target=join, args=(other,)) for other in others]
        for thread in threads:
            thread.start()
        with pytest.raises((FailureError, UsageError)) as caught:
            workers.start(assignment)
        deadline = time.monotonic() + 10
        while workers.arrivals.qsize() + len(workers.joined) < len(others) and time.monotonic() < deadline:
            time.sleep(0.01)
        workers.dismiss(1)
        for thread in threads:
            thread.join(10)
    assert orders == [1] * len(others), "the others are told to end"
    return str(caught.value)


def other_of(assignment: Assignment) -> Hello:
    return replace(hello(Rank(1, 2, 1, 2), assignment.folder), host="node-8")


def test_a_rank_with_other_code_is_refused(assignment: Assignment) -> None:
    message = refused(assignment, replace(other_of(assignment), code="0123456789ab"))
    assert "rank 1 on node-8 runs other code (0123456789ab) than rank 0" in message


def test_a_rank_with_another_configuration_is_refused(assignment: Assignment) -> None:
    message = refused(assignment, replace(other_of(assignment), config="f" * 64))
    assert "rank 1 on node-8 has another configuration of the trial (ffffffffffff)" in message


def test_a_rank_that_does_not_see_the_ledger_is_refused(assignment: Assignment, tmp_path: Path) -> None:
    elsewhere = hello(Rank(1, 2, 1, 2), TrialFolder(tmp_path / "elsewhere" / assignment.folder.trial_id))
    assert "does not see the trial's folder. Put runs_dir on a file system that all nodes share" in refused(
        assignment, elsewhere
    )


def test_a_missing_rank_is_named(assignment: Assignment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "MEET_SECONDS", 1.0)
    assert "rank 1 of 2 did not connect to 127.0.0.1" in refused(assignment)


def test_another_number_of_ranks_than_the_trial_has_is_refused(assignment: Assignment) -> None:
    message = refused(assignment, rank=Rank(0, 3, 0, 3))
    assert (
        "hardware.devices=2 hardware.nodes=1: 1 nodes with 3 ranks each were started. Start 2 on each of 1" in message
    )


def test_without_rank_0_another_rank_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "MEET_SECONDS", 1.0)
    with pytest.raises(FailureError, match="rank 1 of 2: rank 0 cannot be reached"):
        connect(Rank(1, 2, 1, 2), Place("127.0.0.1", free_port()), Hello(1, "here", "code", "config"))


@pytest.mark.slow
def test_torchrun_trains_a_trial(make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = on(make_trial("tracking.log_every_steps=1"), 2, "ddp")
    expected = run(trial, tmp_path / "local")
    folder, job = freeze(trial, tmp_path / "runs")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "ablate.rank", job.trial_id, "--runs-dir", str(job.runs_dir)]
    for _ in range(2):
        # The second time nothing is left to do.
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    assert folder.status == Status.FINISHED
    assert len(folder.record().attempts) == 1
    assert losses(folder) == losses(expected)
