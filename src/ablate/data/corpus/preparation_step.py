"""A preparation step: numbered tasks, each of which writes one folder. A task whose folder exists is done."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ablate.data.corpus.cache import atomic_directory

# Called with the number of bytes that were just processed.
Advance = Callable[[int], None]
# (work folder, folder to write into, number of the task, advance)
Task = Callable[[Path, Path, int, Advance], None]


@dataclass(frozen=True)
class PreparationStep:
    """One step of a preparation.

    Attributes:
        name: of the folder in the work folder that holds its results.
        title: label of the progress bar.
        task: does one task. A function of a module, because other processes import it.
        sizes: approximate number of bytes of each task.
    """

    name: str
    title: str
    task: Task
    sizes: Sequence[int]

    def folder(self, work: Path, number: int) -> Path:
        """Return the folder of a task's result. It exists only when it is complete."""
        return work / self.name / f"{number:05d}"

    def missing(self, work: Path) -> list[int]:
        """Return the tasks without a result."""
        return [number for number in range(len(self.sizes)) if not self.folder(work, number).is_dir()]

    def perform(self, work: Path, number: int, advance: Advance) -> None:
        """Do one task."""
        with atomic_directory(self.folder(work, number)) as scratch:
            self.task(work, scratch, number, advance)
