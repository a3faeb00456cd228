"""Writes a grid's lesson into a folder and prints it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from ablate.files import write_text
from ablate.lessons.grid_results import GridResults, IncomparableError
from ablate.lessons.lesson import Lesson, lesson, tidy
from ablate.reports.curves import draw_curves
from ablate.reports.figure import save
from ablate.reports.forest import draw_forest
from ablate.reports.prose import nothing_to_compare
from ablate.reports.table import markdown, show


def report(
    results: GridResults, folder: Path | None, console: Console, stale: Mapping[str, Sequence[str]] | None = None
) -> Lesson | None:
    """`lesson.md`, `lesson.csv` and the figures in the folder, if there is one; the table in the terminal.

    Returns:
        The lesson; None, with a message, where the arms can't be compared or nothing is finished.
    """
    try:
        found = lesson(results, stale)
    except IncomparableError as error:
        console.print(f"[bold red]No lesson.[/] {escape(str(error))}", soft_wrap=True)
        return None
    if not found.metrics:
        console.print(f"No lesson yet. {nothing_to_compare(found)}", markup=False, soft_wrap=True)
        return None
    show(found, console)
    if folder is None:
        return found
    try:
        write_text(folder / "lesson.md", markdown(found))
        write_text(folder / "lesson.csv", tidy(found).to_csv(index=False))
        save(draw_curves(found), folder, "curves", ("png", "pdf"))
        if found.comparisons:
            save(draw_forest(found), folder, "comparisons", ("png", "pdf"))
    except OSError as error:
        # The ledger of a colleague is read as well as one's own.
        console.print(f"\nThe lesson's files could not be written ({error.strerror}).", soft_wrap=True, markup=False)
        return found
    console.print(
        f"\nLesson: {escape(str(folder))}/lesson.md, .csv and curves.png, .pdf", soft_wrap=True, highlight=False
    )
    return found
