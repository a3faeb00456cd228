"""A full disk is named, with the folder and what moves it."""

import errno
import os
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.progress import Progress

from ablate.config.data import PreparationConfig
from ablate.data.corpus.preparation import prepare
from ablate.data.corpus.preparation_step import Advance, PreparationStep
from ablate.errors import FailureError
from ablate.files import full_disk
from ablate.ranks import Rank
from ablate.records.ledger import Ledger
from ablate.records.trial import Attempt, Status, TrialRecord
from ablate.scheduling.reconcile import DIED, reconcile
from ablate.scheduling.workers import Worker

Usage = namedtuple("Usage", ["total", "used", "free"])


@pytest.fixture
def is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablate.files.shutil.disk_usage", lambda path: Usage(2**30, 2**30 - 4096, 4096))


def fails_with(number: int) -> PreparationStep:
    def task(work: Path, folder: Path, step: int, advance: Advance) -> None:
        # As Arrow raises it, without a path.
        raise OSError(number, f"Error writing bytes to file. Detail: {os.strerror(number)}")

    return PreparationStep("write", "writing", task, [1])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_cache_is_named(tmp_path: Path, number: int) -> None:
    arguments = (tmp_path / "corpus", tmp_path / "corpus.work", b"{}", [fails_with(number)], lambda _: None)
    config = PreparationConfig("local", 1, {})
    if number == errno.EIO:
        with pytest.raises(OSError, match="Input/output error"):
            prepare(*arguments, config, Progress(disable=True))
        return
    with pytest.raises(FailureError, match=rf"^{tmp_path}: the disk or your quota is full\. .* cache_dir=…"):
        prepare(*arguments, config, Progress(disable=True))


def test_the_space_that_is_left_is_told(tmp_path: Path, is_full: None) -> None:
    assert full_disk(tmp_path) == (
        f"{tmp_path}: the disk is full (0.0 MiB are free). Free some space, or choose another folder"
    )


def test_a_disk_with_space_is_not_full(tmp_path: Path) -> None:
    assert full_disk(tmp_path) is None
    assert full_disk(tmp_path / "missing") is None


@pytest.mark.parametrize("is_disk_full", [True, False])
def test_a_trial_that_died_on_a_full_disk_says_so(
    tmp_path: Path, request: pytest.FixtureRequest, is_disk_full: bool
) -> None:
    folder = Ledger(tmp_path).trial("a" * 12)
    attempt = Attempt(started_at=1.0, host="here", pid=1)
    folder.write(TrialRecord(folder.trial_id, status=Status.RUNNING, attempts=(attempt,)))
    if is_disk_full:
        request.getfixturevalue("is_full")
    reconcile(folder, code=1)
    failure = folder.record().failure
    assert failure is not None
    expected = f"{tmp_path}: the disk is full" if is_disk_full else DIED
    assert failure.message.startswith(expected)
    process: Any = SimpleNamespace(exitcode=1, join=lambda: None)
    connection: Any = None
    assert Worker(Rank(), connection, process, folder=folder).death().message.startswith(expected)
