"""A lesson in the terminal. The verdicts come last, where a reader's eye is when the grid ends."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ablate.console import counted
from ablate.lessons.lesson import Lesson, LessonRow
from ablate.lessons.verdict import Verdict
from ablate.reports.ladder_table import HEADERS, ladder_rows, ladder_title
from ablate.reports.notes import note_groups
from ablate.reports.table import headers, text_rows
from ablate.reports.wording import fold, question, unit_and_direction

# Arms per metric; the files have all.
MAX_ARMS = 20
STYLES = {
    Verdict.BETTER: "bold green",
    Verdict.WORSE: "bold red",
    Verdict.EQUIVALENT: "bold cyan",
    Verdict.UNDECIDED: "bold yellow",
}
INDENT, GAP = 2, 2
# Where there is no room, longer texts are broken at words: "no better than unigram: equivalent", "− <a baseline>".
MAX_VERDICT_WIDTH, MAX_HEADER_WIDTH = 20, 12
MIN_LABEL_WIDTH = 12


@dataclass(frozen=True)
class _Layout:
    """The widths of the label, the numbers and the verdict, the same for all metrics."""

    label: int
    numbers: tuple[int, ...]
    verdict: int

    @classmethod
    def of(cls, rows: Sequence[list[str]], width: int) -> "_Layout":
        """Give the label what the numbers and the verdict leave of the width, and no more than it needs."""
        label, *numbers, verdict = (
            max(len(line) for cell in column for line in cell.split("\n")) for column in zip(*rows, strict=True)
        )
        left = width - INDENT - sum(GAP + each for each in (*numbers, verdict))
        if left < label and verdict > MAX_VERDICT_WIDTH:
            left += verdict - MAX_VERDICT_WIDTH
            verdict = MAX_VERDICT_WIDTH
        return cls(min(label, max(left, MIN_LABEL_WIDTH)), tuple(numbers), verdict)

    def table(self) -> Table:
        """An empty table of these widths."""
        table = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
        table.add_column(width=INDENT + self.label)
        for width in self.numbers:
            table.add_column(width=width, justify="right")
        table.add_column(width=self.verdict)
        return table


def show(lesson: Lesson, console: Console, *, with_notes: bool = False) -> None:
    """Print the question, the notes if wanted, the metrics without and then those with declared comparisons.

    The notes come with the primary metric on single sources and parts of the text; the files have all. Labels and
    verdicts are wrapped at words, so the table fits 80 columns.
    """
    console.print(Text(f"\n{question(lesson)}", style="bold"))
    for heading, sentences in note_groups(lesson).items() if with_notes else ():
        console.print(Text(f"\n{heading}", style="bold"))
        for sentence in sentences:
            item = Table.grid(padding=(0, 1, 0, 0))
            item.add_row("•", Text(sentence))
            console.print(item)
    shown_arms = set(lesson.shown_arms(MAX_ARMS))
    hidden = [
        metric
        for metric in lesson.metrics
        if not (lesson.is_headline(metric) or (with_notes and _is_of_primary(metric, lesson)))
    ]
    rows = [
        (row, cells)
        for row, (_, *cells) in text_rows(lesson)
        if row.metric not in hidden and (row.arm is None or row.arm in shown_arms)
    ]
    if not rows:
        return
    header = ["", *("\n".join(fold(text, MAX_HEADER_WIDTH)) for text in headers(lesson)[2:])]
    layout = _Layout.of([header, *(cells for _, cells in rows)], console.width)
    explored = [row for row in rows if row[0].metric not in lesson.declared]
    declared = [row for row in rows if row[0].metric in lesson.declared]
    if explored:
        console.print(
            Text(
                "\nOther metrics: no verdicts, because nothing was declared on them; intervals not adjusted for their "
                "number",
                style="dim",
            )
        )
        _print_rows(explored, header, layout, lesson, console)
    if hidden:
        primary = lesson.results.primary_metric
        more = f"; --notes prints those of {primary}" if any(_is_of_primary(name, lesson) for name in hidden) else ""
        console.print(
            Text(f"\n{counted(len(hidden), 'more metric')}, of sources and parts of the text: lesson.csv{more}", "dim")
        )
    if rest := len(lesson.results.arms) - len(shown_arms):
        console.print(
            f"\nShown: the baseline and the {len(shown_arms) - 1} best arms. lesson.md and lesson.csv have "
            f"{rest:,} more."
        )
    if declared:
        console.print(Text(f"\n{_declaration(lesson)}", style="dim"))
        _print_rows(declared, header, layout, lesson, console)
    _print_ladder(lesson, console)


def _print_ladder(lesson: Lesson, console: Console) -> None:
    """Print what the declared fits say, a line per number with what it means below a verdict."""
    rows = ladder_rows(lesson)
    if not rows:
        return
    console.print(Text(f"\n{ladder_title(lesson)}", style="bold"))
    table = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    for place, header in enumerate(HEADERS):
        table.add_column(header, justify="right" if header in ("estimate", "interval") else "left", ratio=None)
        table.columns[place].overflow = "fold"
    table.add_row(*(Text(header, style="dim") for header in HEADERS))
    for row, (*cells, verdict) in rows:
        table.add_row(*map(Text, cells), Text(verdict, style=STYLES.get(row.verdict, "") if row.verdict else ""))
    console.print(table)


def _is_of_primary(metric: str, lesson: Lesson) -> bool:
    """Whether a metric is the primary one on a single source or a part of the text."""
    whole, _, source = metric.partition("/")
    primary = lesson.results.primary_metric.split("/")[0]
    return whole == primary or (not source and lesson.results.metric(whole).variant_of == primary)


def _declaration(lesson: Lesson) -> str:
    results = lesson.results
    seeds = f"{results.seeds} seed{'' if results.seeds == 1 else 's'} per arm"
    return f"Declared: smallest effect that matters {results.declaration.smallest_effect:g}, {seeds}"


def _print_rows(
    rows: Sequence[tuple[LessonRow, list[str]]],
    header: Sequence[str],
    layout: _Layout,
    lesson: Lesson,
    console: Console,
) -> None:
    """Print a table with a heading per metric."""
    table = layout.table()
    table.add_row(*(Text(text, style="dim") for text in header))
    previous = None
    for row, (label, *numbers, verdict) in rows:
        if row.metric != previous:
            console.print(table)
            table = layout.table()
            heading = Text(row.metric, style="bold")
            heading.append(f"  {unit_and_direction(lesson, row.metric)}", style="not bold dim")
            console.print(heading)
        style = STYLES.get(row.verdict.verdict, "") if row.verdict else ""
        folded = "\n".join(" " * INDENT + line for line in fold(label, layout.label))
        table.add_row(Text(folded), *numbers, Text("\n".join(fold(verdict, layout.verdict)), style=style))
        previous = row.metric
    console.print(table)
