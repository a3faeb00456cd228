"""The mirrors of a trial's log that Lightning's loggers write."""

import csv
import logging
from pathlib import Path

import pytest

from ablate.errors import UsageError
from ablate.grid import check as grid_check
from ablate.records.ledger import TrialFolder
from ablate.records.lightning_mirror import LightningMirror
from ablate.scheduling.mirrors import mirrors_of
from tests.support.trials import MakeTrial


def steps(folder: Path) -> list[tuple[str, str]]:
    with (folder / "csv" / "metrics.csv").open() as file:
        return [(row["step"], row["train/loss"]) for row in csv.DictReader(file)]


def test_a_resumed_trial_s_csv_has_each_step_once(tmp_path: Path) -> None:
    first = LightningMirror("csv", tmp_path)
    first.begin([])
    for step in (1, 2, 3):
        first.append(step, {"train/loss": 1.0 / step, "data/windows": "ab"})
    first.close()
    assert steps(tmp_path) == [("1", "1.0"), ("2", "0.5"), ("3", str(1 / 3))]
    # It resumes from the checkpoint after step 1.
    second = LightningMirror("csv", tmp_path)
    second.begin([{"step": 1, "train/loss": 1.0}])
    second.append(2, {"train/loss": 0.25})
    second.close()
    assert steps(tmp_path) == [("1", "1.0"), ("2", "0.25")]


def test_tensorboard_gets_the_rows(tmp_path: Path) -> None:
    mirror = LightningMirror("tensorboard", tmp_path)
    mirror.begin([{"step": 1, "train/loss": 1.0, "data/windows": "ab"}])
    mirror.append(2, {"train/loss": 0.5})
    mirror.close()
    [events] = (tmp_path / "tensorboard").glob("events.out.tfevents.*")
    assert b"train/loss" in events.read_bytes()


def test_a_mirror_that_cannot_be_written_stops_no_trial(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "trial").write_text("a file where the folder should be")
    mirror = LightningMirror("csv", tmp_path / "trial")
    with caplog.at_level(logging.WARNING):
        mirror.append(1, {"train/loss": 1.0})
        mirror.append(2, {"train/loss": 1.0})
        mirror.close()
    assert caplog.text.count("gets no more rows of this trial") == 1


@pytest.mark.parametrize(
    ("choice", "mirrors"), [("none", []), ("csv", ["LightningMirror"]), ("tensorboard", ["LightningMirror"])]
)
def test_tracking_chooses_the_mirrors(make_trial: MakeTrial, tmp_path: Path, choice: str, mirrors: list[str]) -> None:
    trial = make_trial(f"tracking={choice}")
    assert [type(mirror).__name__ for mirror in mirrors_of(TrialFolder(tmp_path), trial)] == mirrors


def test_tracking_that_cannot_work_here_is_rejected_before_training(
    make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid_check, "has_login", lambda: False)
    with pytest.raises(UsageError, match=r"tracking=online: nobody is logged in .* `wandb login`"):
        grid_check.check(make_trial("tracking=online", "tracking.wandb=online"))
    monkeypatch.setattr(grid_check, "has_login", lambda: True)
    grid_check.check(make_trial("tracking=online", "tracking.wandb=online"))
    monkeypatch.setattr(grid_check, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"tracking=tensorboard: needs the package tensorboardX"):
        grid_check.check(make_trial("tracking=tensorboard"))
