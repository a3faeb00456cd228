import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from ablate.errors import LedgerError
from ablate.files import replacing, write_json
from ablate.records.grid import GridRecord, LookRecord
from ablate.records.lease import LockedError
from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.metrics import MetricsWriter, last_metrics, read_metrics
from ablate.records.provenance import provenance
from ablate.records.schema import FORMAT
from ablate.records.trial import Counts, Status, TrainResult, TrialRecord
from ablate.scheduling.reconcile import reconcile
from tests.support.ledgers import ledger_of, make_grid
from tests.support.wandb_runs import mirror


def test_a_file_is_old_or_new_and_never_half(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"version": 1})

    def dies_while_writing() -> None:
        with replacing(path) as scratch:
            scratch.write_text('{"vers')
            raise RuntimeError

    with pytest.raises(RuntimeError):
        dies_while_writing()
    assert json.loads(path.read_text()) == {"version": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == []
    assert last_metrics(path) == {}
    writer = MetricsWriter(path)
    for step in range(100):
        writer.append(step, {"loss": 1.0 / (step + 1)})
    writer.close()
    with path.open("a") as file:
        file.write('{"step": 100, "lo')
    assert [row["step"] for row in read_metrics(path)] == list(range(100))
    assert last_metrics(path) == {"step": 99, "loss": 0.01}
    assert last_metrics(path, tail_bytes=90)["step"] == 99


def test_the_newest_metrics_reach_back_to_the_last_training_row(tmp_path: Path) -> None:
    """Rows of the validation split alone may fill any fixed tail; the live display needs the loss before them."""
    path = tmp_path / "metrics.jsonl"
    writer = MetricsWriter(path)
    writer.append(1, {"train/loss": 5.5, "progress": 0.1})
    for step in range(2, 40):
        writer.append(step, {"progress": step / 40, **{f"val/metric_{number}": 0.123456789 for number in range(20)}})
    writer.close()
    newest = last_metrics(path, tail_bytes=300)
    assert (newest["train/loss"], newest["step"]) == (5.5, 39)


def test_a_record_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    trial = Ledger(tmp_path).trial("abc")
    assert trial.status == Status.PENDING
    write_json(trial.path / "record.json", {"format": FORMAT + 1, "status": "finished"})
    with pytest.raises(LedgerError, match="written by a newer ablate"):
        _ = trial.status


def test_a_broken_record_is_named(tmp_path: Path) -> None:
    trial = Ledger(tmp_path).trial("abc")
    trial.path.mkdir()
    (trial.path / "record.json").write_text("{")
    with pytest.raises(LedgerError, match=r"record\.json: is damaged or not a record of ablate"):
        _ = trial.status


def test_no_other_command_can_write_a_trial_s_record_while_it_is_frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the check that there is no record and the write of the first one, another command could submit it."""
    ledger, write, statuses = Ledger(tmp_path), TrialFolder.write, []

    def write_late(folder: TrialFolder, record: TrialRecord) -> None:
        with pytest.raises(LockedError), folder.lease:
            write(folder, replace(record, status=Status.SUBMITTED))
        statuses.append(record.status)
        write(folder, record)

    monkeypatch.setattr(TrialFolder, "write", write_late)
    ledger.freeze(TrialRecord("abc"), {})
    assert statuses == [Status.PENDING]
    assert not list((tmp_path / "abc").glob("lease.*"))


def test_two_commands_that_record_a_look_at_once_lose_none(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"base": 0.0, "arm": 0.1})
    ledger, grid_id = ledger_of(results), results.grid_id

    def with_look(record: GridRecord | None, seeds: int) -> GridRecord:
        assert record is not None
        return replace(record, looks=(*record.looks, LookRecord(seeds, is_decided=False, comparisons=())))

    second = Thread(target=lambda: ledger.update_grid(grid_id, lambda record: with_look(record, 5)))

    def with_first_look(record: GridRecord | None) -> GridRecord:
        second.start()
        # Long enough for the second command, did it not wait.
        second.join(0.3)
        return with_look(record, 3)

    ledger.update_grid(grid_id, with_first_look)
    second.join(10)
    assert [look.seeds for look in ledger.grid(grid_id).looks] == [3, 5]


def test_freezing_again_replaces_the_config_but_not_the_record(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.freeze(TrialRecord("abc", first_grid="one"), {"a": 1})
    ledger.trial("abc").update(status=Status.FAILED)
    ledger.freeze(TrialRecord("abc", first_grid="two"), {"a": 2})
    trial = ledger.trial("abc")
    assert trial.frozen() == {"a": 2}
    assert (trial.record().first_grid, trial.status) == ("one", Status.FAILED)
    with trial.lease:
        ledger.freeze(TrialRecord("abc"), {"a": 3})
    assert trial.frozen() == {"a": 2}, "not while a process runs it"


def test_a_half_written_grid_is_not_listed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    (tmp_path / "grids").mkdir()
    (tmp_path / "grids" / ".def.json.x1.json").write_text("{")
    assert ledger.grids() == []


def test_an_archived_attempt_has_no_result(tmp_path: Path) -> None:
    trial = Ledger(tmp_path).trial("0123456789ab")
    trial.begin_attempt()
    trial.update(result=TrainResult(Counts(steps=3), 1.0, 10, "data"))
    for path in (trial.model_path, trial.metrics_path, trial.log_path):
        path.write_text(path.name)
    assert trial.is_trained
    trial.archive_attempt()
    assert not trial.is_trained
    assert trial.record().result is None
    assert {path.name for path in (trial.path / "attempts" / "01").iterdir()} == {
        "model.pt",
        "metrics.jsonl",
        "log.txt",
    }
    assert len(trial.record().attempts) == 1, "the attempt stays in the record"


def test_a_dead_trial_that_another_process_resumed_is_not_reconciled(tmp_path: Path) -> None:
    trial = Ledger(tmp_path).trial("0123456789ab")
    trial.path.mkdir()
    trial.begin_attempt()
    with trial.lease:
        reconcile(trial, is_interrupted=False)
        assert trial.record().status == Status.RUNNING
    reconcile(trial, is_interrupted=False)
    assert trial.record().status == Status.FAILED
    assert trial.record().attempts[-1].ended == "died"
    reconcile(trial, is_interrupted=True)
    assert trial.record().status == Status.PENDING
    assert not list(trial.path.glob("lease.*"))


def test_an_unwritable_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file, not a folder")
    with pytest.raises(LedgerError, match="cannot write the ledger"):
        Ledger(tmp_path / "runs").check_writable()


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_a_record_knows_the_commit_and_every_uncommitted_change(tmp_path: Path) -> None:
    inner = tmp_path / "src" / "inner"
    inner.mkdir(parents=True)
    source, config, stranger = inner / "a.py", tmp_path / "config.yaml", inner / "installed.py"
    source.write_text("a = 1\n")
    config.write_text("a: 1\n")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    stranger.write_text("")
    diffs = tmp_path / "runs" / "diffs"
    clean = provenance(source, diffs)
    assert clean.git_commit is not None
    assert len(clean.git_commit) == 40
    assert clean.git_diff is None
    config.write_text("a: 2\n")
    diff = provenance(source, diffs).git_diff
    assert diff is not None
    assert "+a: 2" in (diffs / diff).read_text()
    assert provenance(source, diffs).git_diff == diff
    assert len(list(diffs.iterdir())) == 1, "kept once for all trials that ran with it"
    assert provenance(stranger, diffs).git_commit is None, "a package below somebody's repository is not of it"


def test_wandb_holds_what_was_logged(tmp_path: Path) -> None:
    """Read back by W&B's own command, in a process of its own, as its service prints after pytest has captured."""
    program = (
        "from pathlib import Path; from tests.support.wandb_runs import mirror\n"
        f"run = mirror(Path({str(tmp_path)!r}))\n"
        "for step in (1, 2, 5): run.append(step, {'train/loss': 8.0 / step, 'data/windows': 'ab'})\n"
        "run.close()\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program], check=True, cwd=root)
    [run_file] = tmp_path.glob("wandb/offline-run-*/run-0123456789ab.wandb")
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(run_file)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert '"train/loss"' in printed
    for value in ("0123456789ab", "objective=causal", "1.6"):
        assert value in printed


def test_the_run_is_offline_if_wandb_cannot_be_reached(tmp_path: Path) -> None:
    program = (
        "import logging; from pathlib import Path; from ablate.records.wandb import writer as m\n"
        "from tests.support.wandb_runs import mirror\n"
        "logging.basicConfig(); m.INIT_SECONDS = 1.0\n"
        f"run = mirror(Path({str(tmp_path)!r}), 'online')\n"
        "run.append(1, {'train/loss': 1.625})\n"
        "run.close()\n"
    )
    # A port of this host that nobody listens at.
    nobody = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40}
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, **nobody},
        capture_output=True,
        text=True,
    )
    assert "W&B cannot be reached" in done.stderr
    [run_file] = tmp_path.glob("wandb/offline-run-*/run-0123456789ab.wandb")
    assert f"python -m ablate sync {tmp_path.name} runs_dir={tmp_path.parent}" in done.stderr
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(run_file)]
    assert "1.625" in subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_failing_writer_does_not_stop_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    run = mirror(tmp_path)
    run.append(1, {"a": 1.0})
    run.close()
    assert "W&B gets no more rows" in caplog.text
