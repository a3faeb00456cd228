"""What this machine cannot do is said before a corpus is read."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ablate.errors import UsageError
from ablate.grid import machine
from ablate.grid.machine import check_machine, measured_gflops
from tests.support.command_line import ablate
from tests.support.in_process import run_in_process
from tests.support.trials import MakeTrial


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)


def test_a_gpu_that_is_not_there_is_told_before_anything_is_read(tmp_path: Path, without_gpu: None) -> None:
    done = ablate(tmp_path, "hardware=gpu")
    assert (done.returncode, done.stdout, (tmp_path / "cache").exists()) == (2, "", False)
    assert "hardware.accelerator=gpu: torch" in done.stderr
    assert "finds no GPU on this machine. Type hardware.accelerator=cpu" in done.stderr


def test_a_gpu_that_is_there_is_used(make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    lines: list[str] = []
    check_machine([make_trial("hardware=gpu", "precision=bf16", "compile=true")], lines.append)
    assert not lines


@pytest.mark.parametrize(("place", "is_refused"), [("/my venv/torch", True), ("/venv/torch", False)])
def test_compiling_needs_a_path_without_a_space(
    make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch, place: str, is_refused: bool
) -> None:
    monkeypatch.setattr(machine, "_torch_folder", lambda: place)
    check_machine([make_trial()], print)
    if is_refused:
        with pytest.raises(UsageError, match=r"compile=true: torch is installed in /my venv/torch, .* compile=false"):
            check_machine([make_trial("compile=true")], print)
    else:
        check_machine([make_trial("compile=true")], print)


@pytest.mark.parametrize(("rates", "lines"), [((280.0, 157.0), 1), ((157.0, 280.0), 0)])
def test_bf16_that_is_slower_is_said_once_with_both_rates(
    make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch, without_gpu: None, rates: tuple[float, float], lines: int
) -> None:
    monkeypatch.setattr(machine, "measured_gflops", lambda threads: rates)
    said: list[str] = []
    check_machine([make_trial("precision=bf16"), make_trial("precision=bf16", "seed=1"), make_trial()], said.append)
    assert len(said) == lines
    assert all("(157 against 280 GFLOP/s, measured now)" in line for line in said)


def test_the_rates_are_measured_and_the_threads_restored() -> None:
    before = torch.get_num_threads()
    assert min(measured_gflops(1)) > 0
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_before_the_trials_start_ends_the_command_as_ctrl_c_does(name: str) -> None:
    # The command sends itself the signal, as `kill` to its process group would.
    program = f"""
import os, signal, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from ablate.__main__ import main
from ablate.verbs import commands
commands.run_command_line = lambda words: (os.kill(os.getpid(), signal.{name}), time.sleep(30))
raise SystemExit(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, "Interrupted.\n")


@pytest.mark.parametrize(("name", "is_fault"), [("gensim", False), ("torch._missing", False), ("ablate.missing", True)])
def test_a_package_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_fault: bool
) -> None:
    def fail(words: object) -> int:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("ablate.verbs.commands.run_command_line", fail)
    done = run_in_process(tmp_path, "status")
    assert (done.returncode, "this is a fault of ablate" in done.stderr) == (1, is_fault)
    if not is_fault:
        assert done.stderr.startswith(f"ablate: the package {name.partition('.')[0]} is not installed in {sys.prefix}.")
