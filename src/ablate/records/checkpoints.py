"""A trial's checkpoints on disk: each is complete or absent.

checkpoints/
  step-000000120/
    …                what the ranks wrote
    complete.json    trial, step, size and SHA-256 of each file; written last, before the folder is renamed
"""

import logging
import shutil
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ablate.errors import LedgerError, NewerFormatError
from ablate.files import file_sha256, read_versioned, sync, write_json
from ablate.ranks import ALONE, Ranks

log = logging.getLogger(__name__)

# 2: a file per rank. Format 1 had one file for all.
FORMAT = 2
MARKER = "complete.json"


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one trial. Only the holder of its lease writes them.

    Attributes:
        folder: contains them.
    """

    folder: Path
    trial_id: str

    def write(self, step: int, fill: Callable[[Path], Iterable[str]], *, keep_last: int, ranks: Ranks = ALONE) -> Path:
        """Write a checkpoint and remove all but the last `keep_last`. Every rank calls this.

        Args:
            step: the last step it contains.
            fill: writes this rank's files into a folder and returns their names.
            keep_last: how many checkpoints stay, this one included.
            ranks: those that write it.

        Raises:
            OSError: the checkpoint could not be written; earlier ones are unchanged.
            RuntimeError: another rank could not write its part.
        """
        scratch = ranks.on_first(self._scratch)
        try:
            parts = ranks.together(lambda: _described(scratch, fill(scratch)))
            files = {name: facts for part in parts for name, facts in part.items()}
            return ranks.on_first(lambda: self._publish(scratch, step, files, keep_last))
        finally:
            if ranks.is_first:
                shutil.rmtree(scratch, ignore_errors=True)

    def _scratch(self) -> Path:
        scratch = self.folder / f".writing-{uuid.uuid4().hex}"
        scratch.mkdir(parents=True)
        return scratch

    def _publish(self, scratch: Path, step: int, files: dict[str, Any], keep_last: int) -> Path:
        """Write the marker, rename the folder, and remove old checkpoints."""
        final = self.folder / f"step-{step:09}"
        write_json(scratch / MARKER, {"format": FORMAT, "trial_id": self.trial_id, "step": step, "files": files})
        sync(scratch)
        # A checkpoint of this step is there only if it is corrupt.
        self._remove(final)
        scratch.rename(final)
        sync(self.folder)
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

    def newest(self, ranks: Ranks = ALONE) -> Path | None:
        """Return the newest intact checkpoint; skip damaged ones with a warning.

        Args:
            ranks: those that share the reading; every one of them calls this.

        Raises:
            LedgerError: a checkpoint of another trial, or of a newer format.
        """
        for path in ranks.broadcast(self.paths()):
            problems = ranks.together(partial(self.problem, path, ranks))
            problem = next((problem for problem in problems if problem is not None), None)
            if problem is None:
                return path
            if ranks.is_first:
                log.warning("Skipping the checkpoint %s: %s.", path, problem)
        return None

    def problem(self, path: Path, ranks: Ranks = ALONE) -> str | None:
        """Return what is wrong with this rank's part of a checkpoint, or None. Raises LedgerError like `newest`."""
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
        if marker["format"] < FORMAT:
            return "an older ablate wrote it"
        for name, expected in list(marker["files"].items())[ranks.rank.number :: ranks.rank.count]:
            file = path / name
            if not file.exists():
                return f"{name} is missing"
            if file.stat().st_size != expected["bytes"]:
                return f"{name} has {file.stat().st_size} bytes instead of {expected['bytes']}"
            if file_sha256(file) != expected["sha256"]:
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


def _described(folder: Path, names: Iterable[str]) -> dict[str, Any]:
    """Flush files to the disk and return what the marker says of them."""
    files = {}
    for name in sorted(names):
        path = folder / name
        sync(path)
        files[name] = {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
    return files
