"""A grid on a Ray of this machine: a worker is killed, the command is interrupted, and each cell is finished once."""

import importlib.util
import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from ablate.records.ledger import Ledger
from ablate.records.metrics import read_metrics
from ablate.records.trial import Status
from tests.support.command_line import ablate, start, wait_for
from tests.support.in_process import run_in_process
from tests.support.text import write_text

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install -e '.[ray]'"),
]
GRID = ["-m", "objective=causal,prefix", "replicates=3", "hardware.devices=2", "budget.rows_per_step=5"]
LONG = [f"budget.train_tokens={300 * 5 * 40}", "checkpoint.every_steps=50", "tracking.log_every_steps=1"]
WORDS = [*GRID, *LONG, "launcher=ray", "launcher.local_cpus=2"]


def training(ledger: Ledger, but: str = "") -> str | None:
    """A trial that trains."""
    for folder in ledger.trials():
        if folder.trial_id != but and folder.status == Status.RUNNING and len(read_metrics(folder.metrics_path)) > 5:
            return folder.trial_id
    return None


def test_a_worker_is_killed_and_a_command_interrupted_and_each_cell_is_finished_once(tmp_path: Path) -> None:
    write_text(tmp_path / "text", 40, seed=0)
    ledger = Ledger(tmp_path / "runs")
    process = start(tmp_path, *WORDS)
    try:
        wait_for(lambda: training(ledger), 240)
        hit = training(ledger)
        assert hit is not None
        pid = ledger.trial(hit).record().attempts[-1].pid
        worker = psutil.Process(pid).parent()
        assert worker is not None
        worker.kill()
        # The rank saves when its worker is gone, and the command submits the trial again.
        wait_for(lambda: len(ledger.trial(hit).record().attempts) > 1, 120)
        assert ledger.trial(hit).record().attempts[0].ended == "pending"
        wait_for(lambda: training(ledger, but=hit) or ledger.trial(hit).status == Status.FINISHED, 240)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=240)
        assert process.returncode == 130, out + err
        statuses = {folder.status for folder in ledger.trials()}
        assert statuses <= {Status.PENDING, Status.FINISHED}, out + err
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    again = start(tmp_path, *WORDS)
    out, err = again.communicate(timeout=900)
    assert again.returncode == 0, out + err
    local = ["hardware.parallel_trials=1", f"runs_dir={tmp_path / 'local'}"]
    assert ablate(tmp_path, *GRID, *LONG, *local).returncode == 0
    lessons = [
        run_in_process(tmp_path, "lessons", "--json", f"runs_dir={tmp_path / name}") for name in ("runs", "local")
    ]
    ours, theirs = (json.loads(done.stdout)["lessons"][0] for done in lessons)
    assert ours["comparisons"] == theirs["comparisons"]
    for folder in ledger.trials():
        record = folder.record()
        assert [attempt.ended for attempt in record.attempts].count("finished") == 1
        assert record.evaluations == Ledger(tmp_path / "local").trial(folder.trial_id).record().evaluations
