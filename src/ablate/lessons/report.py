"""Writes a grid's lesson beside its record and prints it."""

from rich.console import Console
from rich.markup import escape

from ablate.lessons.figure import draw_curves
from ablate.lessons.grid_results import GridResults, IncomparableError
from ablate.lessons.lesson import lesson, tidy
from ablate.lessons.prose import nothing_to_compare
from ablate.lessons.table import markdown, show
from ablate.records.files import write_text


def report(results: GridResults, console: Console) -> bool:
    """`lesson.md`, `lesson.csv`, `curves.png` and `curves.pdf` in the grid's folder; the table in the terminal.

    Returns:
        Whether there was a lesson; false, with a message, where the arms can't be compared or nothing is finished.
    """
    try:
        found = lesson(results)
    except IncomparableError as error:
        console.print(f"[bold red]No lesson.[/] {escape(str(error))}", soft_wrap=True)
        return False
    if not found.estimates:
        console.print(f"No lesson yet. {nothing_to_compare(found)}", markup=False, soft_wrap=True)
        return False
    show(found, console)
    try:
        write_text(results.folder / "lesson.md", markdown(found))
        write_text(results.folder / "lesson.csv", tidy(found).to_csv(index=False))
        draw_curves(found)
    except OSError as error:
        # The ledger of a colleague is read as well as one's own.
        console.print(f"\nThe lesson's files could not be written ({error.strerror}).", soft_wrap=True, markup=False)
        return True
    console.print(
        f"\nLesson: {escape(str(results.folder))}/lesson.md, .csv and curves.png, .pdf", soft_wrap=True, highlight=False
    )
    return True
