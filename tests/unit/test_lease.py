"""Leases: one holder at a time, whoever dies and whatever the clocks do."""

import json
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ablate.records import lease as lease_module
from ablate.records.lease import LOST_EXIT_CODE, Lease, LockedError, live_holder
from ablate.records.process import birth, is_running, this_host


def leave_lease(folder: Path, *, age_seconds: float = 0.0, number: int = 1, **changes: object) -> Path:
    """The lease of a process on another host, whose last heartbeat is so old."""
    path = folder / f"lease.{number}"
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "born": "5", "token": "x"} | changes))
    heartbeat_at = path.stat().st_mtime - age_seconds
    os.utime(path, (heartbeat_at, heartbeat_at))
    return path


@pytest.fixture
def quick_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "WATCH_SECONDS", 0.3)


def test_one_process_holds_a_lease(tmp_path: Path) -> None:
    with Lease(tmp_path):
        with (
            pytest.raises(LockedError, match=f"process {os.getpid()} on {socket.gethostname()}"),
            Lease(tmp_path),
        ):
            pass
        assert live_holder(tmp_path) is not None
    assert live_holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_lease_is_released_while_a_contender_looks(tmp_path: Path) -> None:
    """Else it would name a process that lives on: a command, which takes leases to reconcile what died."""
    with Lease(tmp_path):
        contender = leave_lease(tmp_path, number=2)
    assert [path.name for path in tmp_path.iterdir()] == [contender.name]


def test_a_contender_that_withdraws_ends_no_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "HEARTBEAT_SECONDS", 0.02)
    monkeypatch.setattr(lease_module, "SECOND_LOOK_SECONDS", 0.5)
    lost: list[str] = []
    with Lease(tmp_path, on_lost=lambda: lost.append("lost")):
        contender = leave_lease(tmp_path, number=2)
        time.sleep(0.2)
        contender.unlink()
        time.sleep(0.7)
    assert lost == []


def test_a_lease_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    program = (
        "import os; from pathlib import Path; from ablate.records.lease import Lease\n"
        f"Lease(Path({str(tmp_path)!r})).__enter__(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["lease.1"]
    with Lease(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == {"lease.1", "lease.2"}
    assert list(tmp_path.iterdir()) == []


def test_a_reused_pid_is_another_process(tmp_path: Path) -> None:
    assert is_running(os.getpid(), birth(os.getpid()))
    leave_lease(tmp_path, host=this_host(), pid=os.getpid(), born="1")
    with Lease(tmp_path):
        pass


def test_a_zombie_is_dead(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    born = birth(process.pid)
    leave_lease(tmp_path, host=this_host(), pid=process.pid, born=born)
    assert live_holder(tmp_path) is not None
    # Killed, and not yet waited for.
    process.kill()
    deadline = time.monotonic() + 10
    while live_holder(tmp_path) is not None:
        assert time.monotonic() < deadline, "a process that is dead holds the lease"
        time.sleep(0.05)
    process.wait()


@pytest.mark.usefixtures("quick_watch")
@pytest.mark.parametrize("age_seconds", [lease_module.STALE_SECONDS + 1, -3600])
def test_a_silent_lease_of_another_host_is_taken_over(tmp_path: Path, age_seconds: float) -> None:
    """Long ago or, where a clock was set back, in the future: no heartbeat comes while we watch."""
    leave_lease(tmp_path, age_seconds=age_seconds)
    with Lease(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_fresh_lease_of_another_host_is_kept(tmp_path: Path) -> None:
    leave_lease(tmp_path)
    with pytest.raises(LockedError, match="process 1 on elsewhere"), Lease(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["lease.1"]


@pytest.mark.parametrize("age_seconds", [lease_module.STALE_SECONDS + 3600, -3600])
def test_a_heartbeat_is_seen_after_the_clock_was_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age_seconds: float
) -> None:
    monkeypatch.setattr(lease_module, "WATCH_SECONDS", 10.0)
    path = leave_lease(tmp_path, age_seconds=age_seconds)
    heartbeat = threading.Timer(0.3, lambda: os.utime(path))
    heartbeat.start()
    assert live_holder(tmp_path) is not None
    heartbeat.join()


def test_an_empty_lease_has_an_owner(tmp_path: Path) -> None:
    (tmp_path / "lease.1").touch()
    with pytest.raises(LockedError), Lease(tmp_path):
        pass


@pytest.mark.usefixtures("quick_watch")
def test_a_contender_withdraws_from_a_lease_that_it_did_not_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dead one was cleared away and its number taken by a third, all between our look and our create."""
    leave_lease(tmp_path, age_seconds=1000)
    create = Lease._create

    def create_late(lease: Lease) -> bool:
        leave_lease(tmp_path, token="of a third")
        return create(lease)

    monkeypatch.setattr(Lease, "_create", create_late)
    with pytest.raises(LockedError, match="at the same moment"), Lease(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["lease.1"]
    assert "of a third" in (tmp_path / "lease.1").read_text()


def _take(path: Path, barrier: object, taken: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    try:
        with Lease(path):
            taken.put(os.getpid())  # type: ignore[attr-defined]
            barrier.wait()  # type: ignore[attr-defined]
    except LockedError:
        barrier.wait()  # type: ignore[attr-defined]


@pytest.mark.parametrize("is_left", [False, True])
def test_one_of_many_contenders_acquires_it(tmp_path: Path, is_left: bool) -> None:
    context = multiprocessing.get_context("spawn")
    if is_left:
        leave_lease(tmp_path, host=this_host(), pid=os.getpid(), born="1")
    barrier, taken = context.Barrier(6), context.Queue()
    processes = [context.Process(target=_take, args=(tmp_path, barrier, taken)) for _ in range(6)]
    for process in processes:
        process.start()
    winners = [taken.get(timeout=30)]
    for process in processes:
        process.join(30)
    while not taken.empty():
        winners.append(taken.get())
    assert len(winners) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["taken over", "removed"])
def test_the_heartbeat_ends_a_process_that_lost_its_lease(tmp_path: Path, how: str) -> None:
    loss = (
        "(folder / 'lease.2').write_text('{}')"
        if how == "taken over"
        else "(folder / 'lease.1').unlink(); time.sleep(0)"
    )
    program = (
        "import time; from pathlib import Path; from ablate.records import lease\n"
        "lease.HEARTBEAT_SECONDS = 0.02\n"
        f"folder = Path({str(tmp_path)!r})\n"
        f"with lease.Lease(folder): {loss}; time.sleep(20)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=15)
    assert done.returncode == LOST_EXIT_CODE
    assert "Another process took over this trial" in done.stderr
    assert (tmp_path / "lease.2").exists() == (how == "taken over"), "and leaves the other's lease alone"


def test_the_holder_sends_heartbeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "HEARTBEAT_SECONDS", 0.02)
    with Lease(tmp_path):
        os.utime(tmp_path / "lease.1", (0, 0))
        deadline = time.monotonic() + 5
        while (tmp_path / "lease.1").stat().st_mtime < 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
