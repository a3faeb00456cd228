"""The fork server outlives signals that are sent to its whole process group."""

import subprocess
import sys

import pytest

STARTED = """
import os, signal, sys
from multiprocessing import forkserver
from ablate.scheduling import processes

processes.PRELOADED = []
processes.start_server()
os.kill(forkserver._forkserver._forkserver_pid, signal.{signal})
process = processes.start_process("builtins:print", "alive")
process.join()
sys.exit(process.exitcode)
"""


@pytest.mark.parametrize("signal", ["SIGINT", "SIGHUP", "SIGTERM", "SIGUSR1"])
def test_a_signal_while_it_starts_does_not_end_the_server(signal: str) -> None:
    done = subprocess.run([sys.executable, "-c", STARTED.format(signal=signal)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "alive\n", "")
