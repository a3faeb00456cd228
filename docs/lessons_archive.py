"""The lessons in the archive of logs, and the sizes at which they compare."""

from functools import cache
from pathlib import Path

import ablate
from ablate.lessons.lesson import Lesson
from ablate.records.open_logs import open_logs

DOCS = Path(__file__).parent
ARCHIVE = DOCS.parent / "analysis" / "data"


def declared() -> set[str | None]:
    """Return the names of the lessons in the archive."""
    return {grid.declaration.name for grid in open_logs(ARCHIVE).grids()}


@cache
def archived(name: str) -> Lesson:
    """Return a lesson of the archive. It is read once for all tables and figures, which takes up to half a minute."""
    return ablate.lesson(name, ARCHIVE)


def sizes_of(lesson: Lesson) -> dict[str, str]:
    """Return the name of each rung of a ladder → its size, as 0.6M."""
    if lesson.ladder is None:
        return {}
    return {rung.label: size_of(rung.parameters) for rung in lesson.ladder.ladder.rungs}


def size_of(parameters: float) -> str:
    """Return 58k or 0.6M."""
    return f"{parameters / 1e6:.1f}M" if parameters >= 5e5 else f"{parameters / 1e3:.0f}k"


def size_and_name(contrast: str) -> tuple[str, str]:
    """Split the name of a comparison that is made at several sizes; the size of others is empty."""
    size, separator, name = contrast.partition(", ")
    return (size, name) if separator else ("", contrast)
