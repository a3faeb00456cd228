"""A grid's lesson in the terminal and in files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from ablate.files import write_text
from ablate.lessons.grid_results import GridResults
from ablate.lessons.lesson import Lesson
from ablate.reports.curves import draw_curves
from ablate.reports.figure import save
from ablate.reports.forest import draw_forest
from ablate.reports.notes import lesson_or_gap
from ablate.reports.table import markdown, show


def report(
    results: GridResults, folder: Path | None, console: Console, stale: Mapping[str, Sequence[str]] | None = None
) -> Lesson | None:
    """Print the lesson, and write `lesson.md`, `lesson.csv` and the figures if there is a folder.

    Returns:
        The lesson; None, with a printed reason, where arms can't be compared or nothing is finished.
    """
    lesson = lesson_or_gap(results, stale)
    if isinstance(lesson, str):
        console.print(f"[bold red]No lesson.[/] {escape(lesson)}", soft_wrap=True)
        return None
    show(lesson, console)
    if folder is None:
        return lesson
    try:
        write_text(folder / "lesson.md", markdown(lesson))
        write_text(folder / "lesson.csv", lesson.table().to_csv(index=False))
        save(draw_curves(lesson), folder, "curves", ("png", "pdf"))
        if lesson.comparisons:
            save(draw_forest(lesson), folder, "comparisons", ("png", "pdf"))
    except OSError as error:
        # A colleague's ledger may be read-only.
        console.print(f"\nThe lesson's files could not be written ({error.strerror}).", soft_wrap=True, markup=False)
        return lesson
    console.print(
        f"\nLesson: {escape(str(folder))}/lesson.md, .csv and curves.png, .pdf", soft_wrap=True, highlight=False
    )
    return lesson
