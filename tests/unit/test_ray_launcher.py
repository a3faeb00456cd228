"""Ray without Ray: what is rejected at once, and what a task does with the ranks that it starts."""

import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ablate.errors import UsageError
from ablate.scheduling.launcher import JobState, Phase
from ablate.scheduling.launchers import make_launcher
from ablate.scheduling.launchers import ray as ray_launcher
from ablate.scheduling.launchers.ray import RayLauncher
from tests.support.command_line import wait_for

OPTIONS: dict[str, Any] = dict.fromkeys(("address", "local_cpus", "cpus_per_rank", "max_running"))


def launcher(**options: Any) -> RayLauncher:
    made = make_launcher("ray", OPTIONS | options)
    assert isinstance(made, RayLauncher)
    return made


def test_a_missing_ray_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"Ray is not installed. Type pip install -e '\.\[ray\]'"):
        launcher().check()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())


@pytest.mark.usefixtures("installed")
def test_an_address_that_does_not_answer_is_told_within_seconds() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(UsageError, match=rf"launcher.address=127.0.0.1:{port}: no Ray answers there \("):
            launcher(address=f"127.0.0.1:{port}").check()
        unused.listen()
        launcher(address=f"127.0.0.1:{port}").check()
        launcher(address=f"ray://127.0.0.1:{port}").check()
    launcher().check()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("address", ["head:port", ":6379", ""])
def test_an_address_that_is_none_is_rejected(address: str) -> None:
    with pytest.raises(UsageError, match=r"should be HOST:PORT, as head:6379, or null."):
        launcher(address=address).check()


def test_numbers_are_above_0() -> None:
    with pytest.raises(UsageError, match=r"launcher.local_cpus=0: should be greater than 0, or null."):
        launcher(local_cpus=0)
    assert launcher(max_running=3).parallel == 3


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let ranks be a program that notes its place and exits with 85 on SIGTERM; return the folder of its notes."""
    program = (
        "import os, signal, sys, time, pathlib\n"
        f"note = pathlib.Path({str(tmp_path)!r}) / os.environ.get('RANK', 'alone')\n"
        "def stop(*_): note.with_suffix('.saved').touch(); sys.exit(85)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "note.write_text(' '.join(os.environ.get(name, '-') for name in ('WORLD_SIZE', 'LOCAL_RANK', 'MASTER_PORT')))\n"
        "time.sleep(30 if (note.parent / 'wait').exists() else 0)\n"
        "sys.exit(3 if note.name == '3' else 0)\n"
    )
    monkeypatch.setattr(ray_launcher, "rank_words", lambda batch, number: [sys.executable, "-c", program])
    return tmp_path


def test_a_node_starts_its_ranks_as_torchrun_would_and_ends_with_the_worst_code(words: Path) -> None:
    assert ray_launcher.run_node("batch", 0, node=1, nodes=2, devices=2, meeting=("host", 7)) == 3
    assert {path.name: path.read_text() for path in words.iterdir()} == {"2": "4 0 7", "3": "4 1 7"}


def test_a_cancelled_task_asks_its_ranks_to_save_and_waits(words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (words / "wait").touch()

    def sleep(seconds: float) -> None:
        if (words / "alone").exists() and (words / "alone").read_text():
            monkeypatch.setattr(time, "sleep", real_sleep)
            # As Ray does.
            raise KeyboardInterrupt
        real_sleep(0.05)

    real_sleep = time.sleep
    monkeypatch.setattr(time, "sleep", sleep)
    assert ray_launcher.run_alone("batch", 0) == 85
    assert (words / "alone.saved").exists()


def test_a_rank_stops_when_the_process_that_started_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    from ablate import rank

    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    rank._stop_without(os.getppid() + 1)
    wait_for(lambda: sent)
    assert sent == [(os.getpid(), signal.SIGTERM)]


def test_of_several_nodes_the_worst_end_counts() -> None:
    states: Sequence[JobState] = [JobState(Phase.ENDED), JobState(Phase.ENDED, 1), JobState(Phase.PREEMPTED)]
    assert max(states, key=ray_launcher._severity).phase == Phase.PREEMPTED
    assert max(states[:2], key=ray_launcher._severity).code == 1
