"""A trial's checkpoints on disk: each is complete or absent.

checkpoints/
  step-000000120/
    state.pt         what the trainer wrote
    complete.json    trial, step, size and SHA-256 of each file; written last, before the folder is renamed
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
    """The checkpoints of one trial. Only the holder of its lease writes them.

    Attributes:
        folder: contains them.
    """

    folder: Path
    trial_id: str

    def write(self, step: int, fill: Callable[[Path], None], *, keep_last: int) -> Path:
        """Write a checkpoint and remove all but the last `keep_last`.

        Args:
            step: the last step it contains.
            fill: writes files into a folder.
            keep_last: how many checkpoints stay, this one included.

        Raises:
            OSError: the checkpoint could not be written; earlier ones are unchanged.
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
            # A checkpoint of this step is there only if it is corrupt.
            self._remove(final)
            scratch.rename(final)
            sync(self.folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        for old in [path for path in self.paths() if path <= final][keep_last:]:
            self._remove(old)
        return final

    def remove_after(self, step: int) -> None:
        """Remove checkpoints after a step, which training resumes from; 0 removes all."""
        for path in self.paths():
            if path.name > f"step-{step:09}":
                self._remove(path)

    def paths(self) -> list[Path]:
        """Return all checkpoints, intact or not, the newest first."""
        return sorted(self.folder.glob("step-*"), reverse=True)

    @property
    def newest_step(self) -> int | None:
        """The step of the newest checkpoint, intact or not; None if there is none."""
        paths = self.paths()
        return int(paths[0].name.removeprefix("step-")) if paths else None

    def newest(self) -> Path | None:
        """Return the newest intact checkpoint; skip damaged ones with a warning.

        Raises:
            LedgerError: a checkpoint of another trial, or of a newer format.
        """
        for path in self.paths():
            problem = self.problem(path)
            if problem is None:
                return path
            log.warning("Skipping the checkpoint %s: %s.", path, problem)
        return None

    def problem(self, path: Path) -> str | None:
        """Return what is wrong with a checkpoint, or None. Raises LedgerError like `newest`."""
        try:
            marker = read_versioned(path / MARKER, FORMAT)
        except FileNotFoundError:
            return f"it has no {MARKER}"
        except NewerFormatError:
            raise
        except LedgerError:
            return f"its {MARKER} is damaged"
        if marker["trial_id"] != self.trial_id:
            raise LedgerError(
                f"{path}: is a checkpoint of trial {marker['trial_id']}, not of {self.trial_id}. Move it away and run "
                "the same command again."
            )
        for name, expected in marker["files"].items():
            file = path / name
            if not file.exists():
                return f"{name} is missing"
            if file.stat().st_size != expected["bytes"]:
                return f"{name} has {file.stat().st_size} bytes instead of {expected['bytes']}"
            if _sha256(file) != expected["sha256"]:
                return f"{name} does not have its recorded SHA-256"
        return None

    def leftovers(self) -> list[Path]:
        """Return files that a process left when it was killed while it wrote or removed a checkpoint."""
        return sorted(self.folder.glob(".*"))

    def remove_leftovers(self) -> None:
        """Remove the leftovers."""
        for path in self.leftovers():
            shutil.rmtree(path, ignore_errors=True)

    def clear(self) -> None:
        """Remove all checkpoints."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _remove(self, path: Path) -> None:
        # Renamed first: a half-removed folder must not look like a checkpoint.
        if path.exists():
            removed = path.rename(self.folder / f".gone-{uuid.uuid4().hex}")
            shutil.rmtree(removed, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
