"""Write the tables and figures of docs/lessons.md from the archive: python docs/lessons_page.py.

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`: of a lesson, or `noise`. A comparison that is made at
several sizes has a row, and each size a column.
"""

import re
from collections.abc import Iterator
from math import hypot, sqrt

import pandas as pd

from ablate.lessons.estimate import Comparison
from ablate.lessons.lesson import Lesson
from ablate.reports.figure import save
from ablate.reports.ladder_table import ladder_table
from ablate.reports.wording import typographic
from ablate.reports.written import markdown_table
from lessons_archive import DOCS, archived, declared, size_and_name, sizes_of
from lessons_figures import figures

# The comparisons of each lesson that the paper makes, too.
CLAIMS = {
    "lesson1_prefix_lm": ("prefix LM − causal LM",),
    "lesson2_infill": ("PSM at 0.5 − none",),
    "lesson3_mixed_objective": ("mixed − causal",),
    "lesson4_data_mixture": ("English, 50% code − English alone", "code, 50% code − code alone"),
    "lesson5_multi_epoch": ("causal, 4 epochs − 1", "mixed, 4 epochs − 1"),
}
MARKED = re.compile(r"(<!-- (?P<name>\w+) -->\n).*?(<!-- /(?P=name) -->)", re.DOTALL)


def by_size(lesson: Lesson) -> pd.DataFrame:
    """Return a row per comparison and a column per size: difference, interval, seeds and verdict; last, its slope."""
    cells: dict[str, dict[str, str]] = {}
    sizes = sizes_of(lesson)
    for comparison in lesson.comparisons:
        size, name = size_and_name(comparison.contrast.name)
        metric = comparison.contrast.metric
        row = name if metric == lesson.results.primary_metric else f"{name} (`{metric}`)"
        cells.setdefault(row, {})[sizes.get(size, size)] = _cell(lesson, comparison)
    for slope in lesson.ladder.ladder.slopes if lesson.ladder and len(sizes) > 1 else []:
        if slope.slope is not None and slope.name in cells:
            cells[slope.name]["per 10 × compute"] = _interval(slope.slope.value, slope.slope.low, slope.slope.high)
    return pd.DataFrame(cells).T.fillna("").rename_axis("comparison").reset_index()


def _cell(lesson: Lesson, comparison: Comparison) -> str:
    verdict = f"**{lesson.verdicts[comparison.contrast.name]}**"
    if comparison.low is None or comparison.high is None:
        return f"{typographic(f'{comparison.difference:+.4f}')}, {verdict}"
    numbers = _interval(comparison.difference, comparison.low, comparison.high)
    return f"{numbers}, {comparison.seeds} seeds: {verdict}"


def _interval(value: float, low: float, high: float) -> str:
    return typographic(f"{value:+.4f} [{low:+.4f}, {high:+.4f}]")


def text_of(lesson: Lesson) -> str:
    """Return the table, that of its curves, and a line about it."""
    parts = [markdown_table(by_size(lesson), numbers_from=4)]
    curves = ladder_table(lesson).query("fit not in ['slope', 'curve']")
    if not curves.empty:
        parts.append(markdown_table(curves, numbers_from=3))
    return "\n\n".join([*parts, f"{'. '.join(_facts(lesson))}."]) + "\n"


def _facts(lesson: Lesson) -> Iterator[str]:
    results = lesson.results
    yield f"`{results.primary_metric}` unless said otherwise"
    if results.missing:
        yield "Trials are still missing"


def noise_table() -> pd.DataFrame:
    """What one seed could tell of the comparison of each lesson that is nearest to the paper's.

    The deviation of one seed's difference over seeds and over documents, and the smallest difference that one seed
    would tell from 0 at 5% if its noise were known: 1.96 √(seeds² + documents²).
    """
    known, rows = declared(), []
    for name, claims in CLAIMS.items():
        lesson = archived(name) if name in known else None
        sizes = sizes_of(lesson) if lesson else {}
        for comparison in lesson.comparisons if lesson else []:
            size, contrast = size_and_name(comparison.contrast.name)
            if contrast not in claims or comparison.variance is None:
                continue
            seeds = sqrt(comparison.variance.of_seeds * comparison.seeds)
            documents = sqrt(comparison.variance.document)
            least = 1.96 * hypot(seeds, documents)
            numbers = [f"{comparison.difference:+.4f}", f"{seeds:.4f}", f"{documents:.4f}", f"{least:.4f}"]
            verdict = "yes" if abs(comparison.difference) > least else "no"
            rows.append([f"{name[6]}: {contrast}", sizes[size], *map(typographic, numbers), verdict])
    header = ["lesson", "size", "difference", "seeds", "documents", "one seed tells", "told from 0 by one seed"]
    return pd.DataFrame(rows, columns=header)


def filled(page: str) -> str:
    """Return the page with the table of every lesson that is in the archive, and a note where one is not."""
    known = declared()

    def table(mark: re.Match[str]) -> str:
        name = mark["name"]
        text = f"Not yet run: `experiment={name}`.\n"
        if name == "noise":
            text = markdown_table(noise_table(), numbers_from=2) + "\n"
        elif name in known:
            text = text_of(archived(name))
        return f"{mark[1]}{text}{mark[3]}"

    return MARKED.sub(table, page)


if __name__ == "__main__":
    path = DOCS / "lessons.md"
    path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
    for name, figure in figures():
        save(figure, DOCS, name, ["png"])
