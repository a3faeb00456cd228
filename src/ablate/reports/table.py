"""A lesson's table: its columns, as text and as numbers."""

from collections.abc import Callable, Container
from dataclasses import dataclass

import pandas as pd

from ablate.lessons.lesson import Lesson, LessonRow


@dataclass(frozen=True)
class Column:
    """A column of the table, as text; an empty cell is an empty text."""

    header: Callable[[Lesson], str]
    text: Callable[[LessonRow], str]


def _interval(row: LessonRow) -> str:
    comparison = row.comparison
    return "" if comparison is None or comparison.low is None else f"[{comparison.low:+.4f}, {comparison.high:+.4f}]"


def _with_half_width(row: LessonRow) -> str:
    comparison = row.comparison
    if comparison is None or comparison.low is None or comparison.high is None:
        return "" if comparison is None else f"{comparison.difference:+.4f}"
    return f"{comparison.difference:+.4f} ± {(comparison.high - comparison.low) / 2:.4f}"


def _compares_arms_only(lesson: Lesson) -> bool:
    labels = {arm.label for arm in lesson.results.arms}
    return all(contrast.name in labels for contrast in lesson.results.contrasts)


METRIC = Column(lambda _: "metric", lambda row: row.metric)
ARM = Column(
    lambda lesson: "arm" if _compares_arms_only(lesson) else "arm or comparison",
    lambda row: row.arm or row.contrast or "",
)
MEAN = Column(lambda _: "mean", lambda row: "" if row.mean is None else f"{row.mean:.4f}")
DIFFERENCE = Column(
    lambda lesson: f"− {lesson.results.baseline_name}" if _compares_arms_only(lesson) else "difference",
    lambda row: "" if row.comparison is None else f"{row.comparison.difference:+.4f}",
)
INTERVAL = Column(lambda lesson: f"{lesson.results.declaration.confidence:.0%} interval", _interval)
VERDICT = Column(lambda _: "verdict", lambda row: str(row.verdict or ""))
# To add a column, add it here for the terminal, Markdown, page and notebooks; in `PAPER_COLUMNS` for LaTeX; in
# `Lesson.table` for lesson.csv; in `reports.lesson_json` for --json. The first two name the row, the last one is the
# verdict, and those between are numbers.
COLUMNS = (METRIC, ARM, MEAN, DIFFERENCE, INTERVAL, VERDICT)
# In a paper's column: what is compared with the baseline shows in the verdicts, and an interval is its half width.
PAPER_COLUMNS = (ARM, MEAN, Column(lambda _: "difference", _with_half_width), VERDICT)


def headers(lesson: Lesson) -> list[str]:
    """The headers of all columns."""
    return [column.header(lesson) for column in COLUMNS]


def text_rows(lesson: Lesson) -> list[tuple[LessonRow, list[str]]]:
    """The rows that have a number or a verdict, with their cells as text."""
    return [
        (row, [column.text(row) for column in COLUMNS])
        for row in lesson.rows()
        if (row.mean, row.comparison, row.verdict) != (None, None, None)
    ]


def lesson_table(lesson: Lesson, *, declared_only: bool = False) -> pd.DataFrame:
    """The table as text: all metrics, or those with declared contrasts."""
    return _table(lesson, lesson.declared if declared_only else lesson.metrics)


def headline_table(lesson: Lesson) -> pd.DataFrame:
    """The table of the headline metrics as text."""
    return _table(lesson, list(filter(lesson.is_headline, lesson.metrics)))


def detail_table(lesson: Lesson) -> pd.DataFrame:
    """The table of all other metrics as text: single sources, and parts of the text."""
    return _table(lesson, [metric for metric in lesson.metrics if not lesson.is_headline(metric)])


def _table(lesson: Lesson, metrics: Container[str]) -> pd.DataFrame:
    rows = [cells for row, cells in text_rows(lesson) if row.metric in metrics]
    return pd.DataFrame(rows, columns=headers(lesson))


def accounting_table(lesson: Lesson) -> pd.DataFrame:
    """Tokens, operations, time and speed of each arm, as text."""
    return pd.DataFrame(
        {
            "arm": arm,
            **{
                str(name).replace("_", " ").replace("mfu", "MFU"): _amount(str(name), value)
                for name, value in row.items()
            },
        }
        for arm, row in lesson.results.accounting().iterrows()
    )


def _amount(name: str, value: float) -> str:
    if pd.isna(value):
        return ""
    if name.startswith("mfu"):
        return f"{value:.1%}"
    return f"{value:.3g}" if name == "flops" else f"{value:,.0f}"
