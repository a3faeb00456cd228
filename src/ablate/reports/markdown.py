"""A lesson as one Markdown file, lesson.md."""

from ablate.lessons.lesson import Lesson
from ablate.reports.ladder_table import ladder_table, ladder_title
from ablate.reports.notes import note_groups
from ablate.reports.table import accounting_table, detail_table, headline_table
from ablate.reports.wording import question, unit_and_direction
from ablate.reports.written import markdown_table


def markdown(lesson: Lesson) -> str:
    """The lesson's table, notes, budgets and curves."""
    results, declaration = lesson.results, lesson.results.declaration
    table, details, accounting = headline_table(lesson), detail_table(lesson), accounting_table(lesson)
    bold = table.assign(verdict=[f"**{verdict}**" if verdict else "" for verdict in table["verdict"]])
    return "\n".join(
        [
            f"# {question(lesson)}",
            "",
            f"Grid `{results.grid_id}`: `{results.grid.command}`, matched on {declaration.matched_on}. "
            f"Primary metric: `{results.primary_metric}`, {unit_and_direction(lesson, results.primary_metric)}; "
            f"smallest effect that matters: {declaration.smallest_effect:g}.",
            "",
            markdown_table(bold, numbers_from=2),
            "",
            *ladder_section(lesson),
            *note_sections(lesson, level=2),
            "## What each arm read and computed",
            "",
            "Nothing is finished yet." if accounting.empty else "Means per trial.",
            "",
            *([] if accounting.empty else [markdown_table(accounting, numbers_from=1), ""]),
            "![Loss curves](curves.png)",
            "",
            *([] if details.empty else ["## Single sources and parts of the text", ""]),
            *([] if details.empty else [markdown_table(details, numbers_from=2), ""]),
        ]
    )


def ladder_section(lesson: Lesson) -> list[str]:
    """The lines of a declared ladder; none without one."""
    table = ladder_table(lesson)
    if table.empty:
        return []
    return ["## " + ladder_title(lesson), "", markdown_table(table, numbers_from=3), ""]


def note_sections(lesson: Lesson, level: int) -> list[str]:
    """The lines of the notes, each group under a heading of this level."""
    lines = []
    for heading, sentences in note_groups(lesson).items():
        lines += [f"{'#' * level} {heading}", "", *(f"- {sentence}" for sentence in sentences), ""]
    return lines
