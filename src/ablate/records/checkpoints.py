"""A trial's checkpoints on disk: each is whole or not there.

checkpoints/
  step-000000120/
    state.pt         what the trainer wrote
    complete.json    whose it is, its step, bytes and SHA-256 of each file; written last, before the folder's rename
"""

import hashlib
import logging
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ablate.errors import LedgerError, NewerFormatError
from ablate.files import read_versioned, sync, write_json

log = logging.getLogger(__name__)

FORMAT = 1
MARKER = "complete.json"


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one trial; only the holder of its lease writes them.

    Attributes:
        folder: where they lie.
        trial_id: whose they are.
    """

    folder: Path
    trial_id: str

    def write(self, step: int, fill: Callable[[Path], None], *, keep_last: int) -> Path:
        """Writes a checkpoint and removes those before the last `keep_last`.

        Args:
            step: after which it was taken.
            fill: writes files into the folder that it is given.
            keep_last: how many stay, this one included.

        Raises:
            OSError: it could not be written; the earlier ones are as they were.
        """
        scratch = self.folder / f".writing-{uuid.uuid4().hex}"
        final = self.folder / f"step-{step:09}"
        scratch.mkdir(parents=True)
        try:
            fill(scratch)
            files = {}
            for path in sorted(scratch.iterdir()):
                sync(path)
                files[path.name] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
            write_json(scratch / MARKER, {"format": FORMAT, "trial_id": self.trial_id, "step": step, "files": files})
            sync(scratch)
            # One that stands in the way was found corrupt when its step was passed again.
            self._remove(final)
            scratch.rename(final)
            sync(self.folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        for old in [path for path in self.paths() if path <= final][keep_last:]:
            self._remove(old)
        return final

    def remove_after(self, step: int) -> None:
        """Removes those that were skipped, as the training goes on from this step; 0 for all."""
        for path in self.paths():
            if path.name > f"step-{step:09}":
                self._remove(path)

    def paths(self) -> list[Path]:
        """All checkpoints, intact or not, the newest first."""
        return sorted(self.folder.glob("step-*"), reverse=True)

    @property
    def newest_step(self) -> int | None:
        """The step of the newest checkpoint, intact or not; None where there is none."""
        paths = self.paths()
        return int(paths[0].name.removeprefix("step-")) if paths else None

    def newest(self) -> Path | None:
        """The newest intact checkpoint; each torn or corrupt one on the way is skipped with a warning.

        Raises:
            LedgerError: a checkpoint of another trial, or of a newer format.
        """
        for path in self.paths():
            problem = self.problem(path)
            if problem is None:
                return path
            log.warning("The checkpoint %s is skipped: %s.", path, problem)
        return None

    def problem(self, path: Path) -> str | None:
        """What is wrong with a checkpoint; None for nothing. Raises LedgerError like `newest`."""
        try:
            marker = read_versioned(path / MARKER, FORMAT)
        except FileNotFoundError:
            return f"it has no {MARKER}"
        except NewerFormatError:
            raise
        except LedgerError:
            return f"its {MARKER} is torn"
        if marker["trial_id"] != self.trial_id:
            raise LedgerError(
                f"{path}: is a checkpoint of the trial {marker['trial_id']}, not of {self.trial_id}. Move it away; the "
                "same command then goes on without it."
            )
        for name, told in marker["files"].items():
            file = path / name
            if not file.exists():
                return f"{name} is missing"
            if file.stat().st_size != told["bytes"]:
                return f"{name} has {file.stat().st_size} bytes instead of {told['bytes']}"
            if _sha256(file) != told["sha256"]:
                return f"{name} does not have the SHA-256 that it was written with"
        return None

    def leftovers(self) -> list[Path]:
        """What a process that was killed while it wrote or removed left behind."""
        return sorted(self.folder.glob(".*"))

    def sweep(self) -> None:
        """Removes the leftovers."""
        for path in self.leftovers():
            shutil.rmtree(path, ignore_errors=True)

    def clear(self) -> None:
        """Removes all checkpoints."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _remove(self, path: Path) -> None:
        # Renamed first: what is half removed must not look like a checkpoint.
        if path.exists():
            gone = path.rename(self.folder / f".gone-{uuid.uuid4().hex}")
            shutil.rmtree(gone, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
