"""A lesson's tables for a LaTeX paper: the primary metric in one column, all other metrics for the appendix."""

from collections.abc import Sequence

import pandas as pd

from ablate.lessons.lesson import Lesson, LessonRow
from ablate.reports.table import PAPER_COLUMNS, text_rows
from ablate.reports.wording import unit_and_direction
from ablate.reports.written import LABEL, latex_table, latex_text

# A longer verdict, as "no better than unigram: worse", is wrapped.
MAX_VERDICT, WRAPPED = 12, r">{\raggedright\arraybackslash}p{6.5em}"


def primary_table(lesson: Lesson) -> str:
    """The primary metric, exactly as wide as a column of the paper."""
    return _table(lesson, lesson.results.primary_metric)


def appendix_tables(lesson: Lesson) -> str:
    """A table per other metric; a page or a column may break between them."""
    metrics = [name for name in lesson.metrics if name != lesson.results.primary_metric]
    return "\n".join(
        f"\\noindent\\textbf{{{latex_text(name)}}}, {latex_text(unit_and_direction(lesson, name))}"
        "\\par\\nopagebreak\\smallskip\n"
        f"{_table(lesson, name)}\\par\\bigskip\n"
        for name in metrics
        if _rows(lesson, name)
    )


def _rows(lesson: Lesson, metric: str) -> Sequence[LessonRow]:
    return [row for row, _ in text_rows(lesson) if row.metric == metric]


def _table(lesson: Lesson, metric: str) -> str:
    cells = [[column.text(row) for column in PAPER_COLUMNS] for row in _rows(lesson, metric)]
    table = pd.DataFrame(cells, columns=[column.header(lesson) for column in PAPER_COLUMNS])
    is_long = table["verdict"].str.len().max() > MAX_VERDICT
    confidence = lesson.results.declaration.confidence
    note = f"{metric}: {unit_and_direction(lesson, metric)}; ± is half of the simultaneous {confidence:.0%} interval."
    return latex_table(table, [LABEL, "r", "r", WRAPPED if is_long else "l"], note)
