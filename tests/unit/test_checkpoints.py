"""Checkpoints on disk: complete or absent; damaged ones are skipped, those of another trial are refused."""

import json
from pathlib import Path

import pytest

from ablate.errors import LedgerError, NewerFormatError
from ablate.records.checkpoints import FORMAT, MARKER, Checkpoints


def write(store: Checkpoints, step: int, content: bytes = b"state", keep_last: int = 2) -> Path:
    def fill(folder: Path) -> list[str]:
        (folder / "state.pt").write_bytes(content)
        (folder / "more.bin").write_bytes(b"more")
        return ["state.pt", "more.bin"]

    return store.write(step, fill, keep_last=keep_last)


@pytest.fixture
def store(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints", "0123456789ab")


def test_the_last_checkpoints_are_kept(store: Checkpoints) -> None:
    assert (store.newest(), store.newest_step) == (None, None)
    for step in (5, 50, 500):
        write(store, step)
    assert [path.name for path in store.paths()] == ["step-000000500", "step-000000050"]
    assert store.newest() == store.paths()[0]
    assert store.newest_step == 500
    assert store.leftovers() == []


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: (path / MARKER).unlink(), f"it has no {MARKER}"),
        (lambda path: (path / MARKER).write_text('{"format": 1, "tri'), f"its {MARKER} is damaged"),
        (lambda path: (path / "state.pt").unlink(), "state.pt is missing"),
        (lambda path: (path / "state.pt").write_bytes(b"sta"), "state.pt has 3 bytes instead of 5"),
        (lambda path: (path / "more.bin").write_bytes(b"morE"), "more.bin does not have its recorded SHA-256"),
    ],
)
def test_a_damaged_checkpoint_is_skipped_with_a_warning(
    store: Checkpoints, damage: object, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = write(store, 1)
    damage(write(store, 2))  # type: ignore[operator]
    assert store.newest() == good
    assert told in caplog.text
    again = write(store, 2)
    assert store.newest() == again, "its step is passed again, and saved again"
    damage(again)  # type: ignore[operator]
    damage(good)  # type: ignore[operator]
    assert store.newest() is None


@pytest.mark.parametrize("keep_last", [1, 2])
def test_a_damaged_checkpoint_does_not_displace_an_intact_one(store: Checkpoints, keep_last: int) -> None:
    write(store, 100)
    (write(store, 200) / MARKER).unlink()
    good = write(store, 150, keep_last=keep_last)
    assert store.newest() == good
    assert len([path for path in store.paths() if store.problem(path) is None]) == keep_last
    store.remove_after(150)
    assert store.newest_step == 150
    store.remove_after(0)
    assert store.paths() == []


def test_a_checkpoint_of_another_trial_is_refused(store: Checkpoints, tmp_path: Path) -> None:
    write(Checkpoints(store.folder, "ffffffffffff"), 3)
    with pytest.raises(LedgerError, match="is a checkpoint of trial ffffffffffff, not of 0123456789ab"):
        store.newest()


def test_a_checkpoint_of_a_newer_ablate_is_refused(store: Checkpoints) -> None:
    marker = write(store, 3) / MARKER
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "format": FORMAT + 1}))
    with pytest.raises(NewerFormatError, match="Update ablate"):
        store.newest()


def test_a_failed_save_leaves_earlier_checkpoints(store: Checkpoints) -> None:
    good = write(store, 1, keep_last=1)

    def full(folder: Path) -> list[str]:
        (folder / "state.pt").write_bytes(b"st")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        store.write(2, full, keep_last=1)
    assert store.newest() == good
    assert store.leftovers() == []


def test_leftovers_of_a_killed_process_are_no_checkpoints_and_can_be_removed(store: Checkpoints) -> None:
    good = write(store, 1)
    good.rename(store.folder / ".writing-1")
    write(store, 2)
    assert [path.name for path in store.leftovers()] == [".writing-1"]
    assert store.newest_step == 2
    store.remove_leftovers()
    assert store.leftovers() == []
    store.clear()
    assert store.paths() == []
