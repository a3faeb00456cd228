"""A grid's lesson in the terminal and in files."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from ablate.console import say
from ablate.files import write_text
from ablate.lessons.grid_results import GridResults
from ablate.lessons.ladder import table_of
from ablate.lessons.lesson import Lesson
from ablate.reports.curves import draw_curves
from ablate.reports.figure import save
from ablate.reports.forest import draw_forest
from ablate.reports.ladder_figure import draw_ladder
from ablate.reports.markdown import markdown
from ablate.reports.notes import next_step
from ablate.reports.page import write_page
from ablate.reports.terminal import show
from ablate.reports.wording import lesson_or_gap


def report(
    results: GridResults,
    folder: Path | None,
    console: Console,
    stale: Mapping[str, Sequence[str]] | None = None,
    *,
    with_notes: bool = False,
) -> Lesson | None:
    """Print the lesson, and write its tables, its page and its figures if there is a folder.

    Returns:
        The lesson; None, with a printed reason, where arms can't be compared or nothing is finished.
    """
    lesson = lesson_or_gap(results, stale)
    if isinstance(lesson, str):
        console.print(f"[bold red]No lesson.[/] {escape(lesson)}", soft_wrap=True)
        return None
    show(lesson, console, with_notes=with_notes)
    if step := next_step(lesson):
        say(console, f"\n{step}")
    if folder is not None:
        _write(lesson, folder, console)
    return lesson


def _write(lesson: Lesson, folder: Path, console: Console) -> None:
    """Write the files and print where the two that people read are."""
    try:
        write_text(folder / "lesson.md", markdown(lesson))
        write_text(folder / "lesson.csv", lesson.table().to_csv(index=False))
        write_page([lesson], folder / "lesson.html")
        save(draw_curves(lesson), folder, "curves", ("png", "pdf"))
        if lesson.comparisons:
            save(draw_forest(lesson), folder, "comparisons", ("png", "pdf"))
        if lesson.ladder:
            write_text(folder / "ladder.csv", table_of(lesson.ladder.rows()).to_csv(index=False))
        if ladder := draw_ladder(lesson):
            save(ladder, folder, "ladder", ("png", "pdf"))
    except OSError as error:
        # A colleague's ledger may be read-only.
        say(console, f"\nThe lesson's files could not be written ({error.strerror}).")
        return
    say(console, f"\nNotes: {shown_path(folder / 'lesson.md')}")
    say(console, f"Page:  {shown_path(folder / 'lesson.html')}")


def shown_path(path: Path) -> str:
    """The path from here where it is below the current folder, else the whole path."""
    here = Path.cwd()
    return os.fspath(path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path)
