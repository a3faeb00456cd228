"""A lesson as Markdown, CSV and a table for the terminal."""

import math
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablate.lessons.lesson import Lesson, tidy
from ablate.lessons.metric import metric
from ablate.lessons.tuning import tuning_notes
from ablate.reports.prose import certainty_notes, data_notes, metric_notes, question, training_notes, unigram_notes
from ablate.reports.written import markdown_table


def _rows(found: Lesson) -> list[tuple[str, ...]]:
    """(metric, arm or contrast, mean, difference, interval, verdict) as text, metrics of verdicts first.

    An arm that can't have a metric has no row of it.
    """
    return [
        (
            str(row.metric),
            str(row.contrast if _missing(row.arm) else row.arm),
            "" if _missing(row.mean) else f"{row.mean:.4f}",
            _signed(row.difference),
            "" if _missing(row.low) else f"[{row.low:+.4f}, {row.high:+.4f}]",
            row.verdict if isinstance(row.verdict, str) else "",
        )
        for row in tidy(found).itertuples()
        if not (_missing(row.mean) and _missing(row.difference) and _missing(row.verdict))
    ]


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _signed(value: Any) -> str:
    return "" if _missing(value) else f"{value:+.4f}"


def _headers(found: Lesson) -> tuple[str, ...]:
    confidence = f"{found.results.declaration.confidence:.0%} interval"
    names = {arm.label for arm in found.results.arms}
    is_of_arms = all(contrast.name in names for contrast in found.results.contrasts)
    against = f"− {found.results.baseline}" if is_of_arms else "difference"
    return ("metric", "arm" if is_of_arms else "arm or comparison", "mean", against, confidence, "verdict")


def lesson_table(found: Lesson, *, declared_only: bool = False) -> pd.DataFrame:
    """The lesson as a table of text: all metrics, or those that something was declared on."""
    rows = [row for row in _rows(found) if row[0] in found.declared or not declared_only]
    return pd.DataFrame(rows, columns=list(_headers(found)))


def accounting_table(found: Lesson) -> pd.DataFrame:
    """What each arm read, was asked and computed, as a table of text."""
    return pd.DataFrame(
        [
            {
                "arm": arm,
                **{
                    str(name).replace("_", " "): f"{value:.3g}" if name == "flops" else f"{value:,.0f}"
                    for name, value in row.items()
                },
            }
            for arm, row in found.results.accounting().iterrows()
        ]
    )


def markdown(found: Lesson) -> str:
    """The whole lesson as one Markdown page."""
    results = found.results
    less_is_better = metric(results.declaration.primary_metric).less_is_better
    lines = [
        f"# {question(found)}",
        "",
        f"Grid `{results.grid_id}`: `{results.grid.command}`, matched on {results.declaration.matched_on}. "
        f"Primary metric: `{results.declaration.primary_metric}`, {'less' if less_is_better else 'more'} is better; "
        f"smallest effect that matters: {results.declaration.smallest_effect:g}.",
        "",
        markdown_table(_with_bold_words(lesson_table(found)), numbers_from=2),
    ]
    lines += [
        "",
        *(f"- {note}" for note in notes(found)),
        "",
        "What was read, asked and computed (mean per trial):",
        "",
    ]
    accounting = accounting_table(found)
    lines += ["Nothing is finished yet." if accounting.empty else markdown_table(accounting, numbers_from=1), ""]
    lines += ["![Loss curves](curves.png)", ""]
    return "\n".join(lines)


def _with_bold_words(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(verdict=[f"**{word}**" if word else "" for word in table["verdict"]])


def notes(found: Lesson) -> list[str]:
    """All sentences below the table."""
    merged = [
        f"{arm.label} is the same trial as {arm.same_as}." for arm in found.results.all_arms if arm.same_as is not None
    ]
    return [
        *merged,
        *certainty_notes(found),
        *tuning_notes(found),
        *training_notes(found),
        *data_notes(found),
        *metric_notes(found),
        *unigram_notes(found),
    ]


# Of each metric, in the terminal; the files have all.
MOST_ROWS = 20
COLOURS = {"better": "bold green", "worse": "bold red", "equivalent": "bold cyan", "undecided": "bold yellow"}


def show(found: Lesson, console: Console) -> None:
    """Prints table and notes; the table fits 80 columns, as each metric has a line of its own.

    Of single sources it has the primary metric alone; the files have all.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", expand=False)
    for header in _headers(found)[1:]:
        is_number = header not in (_headers(found)[1], "verdict")
        table.add_column(escape(header), justify="right" if is_number else "left", no_wrap=is_number)
    previous, shown = None, set(found.shown_arms(MOST_ROWS))
    labels = {arm.label for arm in found.results.arms}
    primary = found.results.primary_metric.split("/")[0]
    for name, arm, *numbers, word in _rows(found):
        is_hidden = arm in labels and arm not in shown
        if is_hidden or ("/" in name and name.split("/")[0] != primary and name not in found.declared):
            continue
        if name != previous:
            if previous is not None:
                table.add_section()
            table.add_row(f"[bold]{escape(name)}[/]")
        style = COLOURS.get(word.split(": ")[-1], "")
        table.add_row(f"  {escape(arm)}", *numbers, f"[{style}]{word}[/]" if style else word)
        previous = name
    console.print(f"\n[bold]{escape(question(found))}[/]", highlight=False)
    console.print(table)
    if rest := len(found.results.arms) - len(shown):
        console.print(
            f"The baseline and the {len(shown) - 1} best; {rest:,} more arms stand in lesson.md and lesson.csv."
        )
    for note in notes(found):
        console.print(f"• {note}", markup=False, highlight=False)
