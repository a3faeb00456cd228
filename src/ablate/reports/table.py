"""A lesson's table: as text, CSV, a Markdown page, and in the terminal."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablate.lessons.lesson import Lesson, Row
from ablate.lessons.verdict import Verdict
from ablate.reports.notes import direction, notes, question
from ablate.reports.written import markdown_table

# Arms per metric in the terminal; the files have all.
MAX_ARMS = 20
STYLES = {
    Verdict.BETTER: "bold green",
    Verdict.WORSE: "bold red",
    Verdict.EQUIVALENT: "bold cyan",
    Verdict.UNDECIDED: "bold yellow",
}


@dataclass(frozen=True)
class Column:
    """A column of the table, as text; an empty cell is an empty text."""

    header: Callable[[Lesson], str]
    text: Callable[[Row], str]


def _interval(row: Row) -> str:
    comparison = row.comparison
    return "" if comparison is None or comparison.low is None else f"[{comparison.low:+.4f}, {comparison.high:+.4f}]"


def _compares_arms_only(lesson: Lesson) -> bool:
    labels = {arm.label for arm in lesson.results.arms}
    return all(contrast.name in labels for contrast in lesson.results.contrasts)


# To add a column, add a line: here for all tables, in `Lesson.table` for lesson.csv. The first two name the row, the
# last one is the verdict, and those between are numbers.
COLUMNS = (
    Column(lambda _: "metric", lambda row: row.metric),
    Column(
        lambda lesson: "arm" if _compares_arms_only(lesson) else "arm or comparison",
        lambda row: row.arm or row.contrast or "",
    ),
    Column(lambda _: "mean", lambda row: "" if row.mean is None else f"{row.mean:.4f}"),
    Column(
        lambda lesson: f"− {lesson.results.baseline}" if _compares_arms_only(lesson) else "difference",
        lambda row: "" if row.comparison is None else f"{row.comparison.difference:+.4f}",
    ),
    Column(lambda lesson: f"{lesson.results.declaration.confidence:.0%} interval", _interval),
    Column(lambda _: "verdict", lambda row: str(row.verdict or "")),
)


def headers(lesson: Lesson) -> list[str]:
    """The headers of all columns."""
    return [column.header(lesson) for column in COLUMNS]


def text_rows(lesson: Lesson, *, declared_only: bool = False) -> list[tuple[Row, list[str]]]:
    """The rows that have a number or a verdict, with their cells as text."""
    return [
        (row, [column.text(row) for column in COLUMNS])
        for row in lesson.rows()
        if (row.mean, row.comparison, row.verdict) != (None, None, None)
        and (row.metric in lesson.declared or not declared_only)
    ]


def lesson_table(lesson: Lesson, *, declared_only: bool = False) -> pd.DataFrame:
    """The table as text: all metrics, or those with declared contrasts."""
    rows = [cells for _, cells in text_rows(lesson, declared_only=declared_only)]
    return pd.DataFrame(rows, columns=headers(lesson))


def accounting_table(lesson: Lesson) -> pd.DataFrame:
    """Tokens, operations and time of each arm, as text."""
    return pd.DataFrame(
        {
            "arm": arm,
            **{
                str(name).replace("_", " "): f"{value:.3g}" if name == "flops" else f"{value:,.0f}"
                for name, value in row.items()
            },
        }
        for arm, row in lesson.results.accounting().iterrows()
    )


def markdown(lesson: Lesson) -> str:
    """The whole lesson as one Markdown page."""
    results, declaration = lesson.results, lesson.results.declaration
    table, accounting = lesson_table(lesson), accounting_table(lesson)
    bold = table.assign(verdict=[f"**{verdict}**" if verdict else "" for verdict in table["verdict"]])
    return "\n".join(
        [
            f"# {question(lesson)}",
            "",
            f"Grid `{results.grid_id}`: `{results.grid.command}`, matched on {declaration.matched_on}. "
            f"Primary metric: `{results.primary_metric}`, {direction(lesson, results.primary_metric)}; "
            f"smallest effect that matters: {declaration.smallest_effect:g}.",
            "",
            markdown_table(bold, numbers_from=2),
            "",
            *(f"- {note}" for note in notes(lesson)),
            "",
            "What each arm read and computed (mean per trial):",
            "",
            "Nothing is finished yet." if accounting.empty else markdown_table(accounting, numbers_from=1),
            "",
            "![Loss curves](curves.png)",
            "",
        ]
    )


def show(lesson: Lesson, console: Console) -> None:
    """Print the table and the notes. Each metric has a line of its own, so the table fits 80 columns.

    Single sources are shown for the primary metric alone; the files have all.
    """
    _, *shown_headers = headers(lesson)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", expand=False)
    for place, header in enumerate(shown_headers):
        is_number = 0 < place < len(shown_headers) - 1
        table.add_column(escape(header), justify="right" if is_number else "left", no_wrap=is_number)
    previous, shown_arms = None, set(lesson.shown_arms(MAX_ARMS))
    primary = lesson.results.primary_metric.split("/")[0]
    for row, (name, label, *numbers, verdict) in text_rows(lesson):
        is_hidden = row.arm is not None and row.arm not in shown_arms
        if is_hidden or ("/" in name and name.split("/")[0] != primary and name not in lesson.declared):
            continue
        if name != previous:
            if previous is not None:
                table.add_section()
            table.add_row(f"[bold]{escape(name)}[/]")
        style = STYLES.get(row.verdict.verdict) if row.verdict else None
        table.add_row(f"  {escape(label)}", *numbers, f"[{style}]{verdict}[/]" if style else verdict)
        previous = name
    console.print(f"\n[bold]{escape(question(lesson))}[/]", highlight=False)
    console.print(table)
    if rest := len(lesson.results.arms) - len(shown_arms):
        console.print(
            f"The baseline and the {len(shown_arms) - 1} best; {rest:,} more arms are in lesson.md and lesson.csv."
        )
    for note in notes(lesson):
        console.print(f"• {note}", markup=False, highlight=False)
