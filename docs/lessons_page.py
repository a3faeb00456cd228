"""Write the tables of docs/lessons.md and the figure of prices from the archive: python docs/lessons_page.py.

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`: of a lesson, or `noise`. A comparison that is made at
several sizes has a row, and each size a column.
"""

import re
from collections.abc import Iterator
from math import hypot, sqrt
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import ablate
from ablate.lessons.estimate import Comparison
from ablate.lessons.ladder import Ladder, Slope
from ablate.lessons.lesson import Lesson
from ablate.records.open_logs import open_logs
from ablate.reports.figure import COLOURS, QUIET, quiet_grid, save, style
from ablate.reports.ladder_table import ladder_table
from ablate.reports.wording import typographic
from ablate.reports.written import markdown_table

DOCS = Path(__file__).parent
ARCHIVE = DOCS.parent / "analysis" / "data"
# What each objective costs beside a causal LM: lesson and arm.
PRICES = {
    "prefix LM": ("lesson1_prefix_lm", "prefix / prefix_decoder"),
    "loss on a random half": ("lesson1_prefix_lm", "random_loss / prefix_decoder"),
    "mixed as a prefix LM": ("lesson3_mixed_objective", "mixed_prefix / none"),
    "mixed": ("lesson3_mixed_objective", "mixed / none"),
    "PSM at 0.5": ("lesson3_mixed_objective", "causal / psm"),
}
# The comparisons of each lesson that the paper makes, too.
CLAIMS = {
    "lesson1_prefix_lm": ("prefix LM − causal LM",),
    "lesson2_infill": ("PSM at 0.5 − none",),
    "lesson3_mixed_objective": ("mixed − causal",),
    "lesson4_data_mixture": ("English, 50% code − English alone", "code, 50% code − code alone"),
    "lesson5_multi_epoch": ("causal, 4 epochs − 1", "mixed, 4 epochs − 1"),
}
PRICE_METRIC = "bpb_full"
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


def size_and_name(contrast: str) -> tuple[str, str]:
    """Split the name of a comparison that is made at several sizes; the size of others is empty."""
    size, separator, name = contrast.partition(", ")
    return (size, name) if separator else ("", contrast)


def sizes_of(lesson: Lesson) -> dict[str, str]:
    """Return the name of each rung of a ladder → its size, as 0.6M."""
    if lesson.ladder is None:
        return {}
    return {rung.label: _size(rung.parameters) for rung in lesson.ladder.ladder.rungs}


def _size(parameters: float) -> str:
    """Return 57k or 0.6M."""
    return f"{parameters / 1e6:.1f}M" if parameters >= 5e5 else f"{parameters / 1e3:.0f}k"


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
        lesson = ablate.lesson(name, ARCHIVE) if name in known else None
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


def draw_prices() -> Figure:
    """Draw what each objective of `PRICES` that was run costs at each size, with the smallest effect as a band."""
    known = declared()
    names = dict.fromkeys(name for name, _ in PRICES.values() if name in known)
    lessons = {name: ablate.lesson(name, ARCHIVE) for name in names}
    ladders = {name: Ladder.of([lesson.results], PRICE_METRIC, over=["scale"]) for name, lesson in lessons.items()}
    first = next(iter(ladders))
    with style():
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        axis = figure.add_subplot()
        for place, (label, (name, arm)) in enumerate(PRICES.items()):
            for slope in ladders[name].slopes if name in ladders else []:
                if slope.name == arm and slope.effects:
                    _draw_price(axis, label, ladders[name], slope, place)
        smallest = lessons[first].results.declaration.smallest_effect
        axis.axhspan(-smallest, smallest, color=QUIET, alpha=0.12, linewidth=0)
        axis.set_xscale("log")
        rungs = ladders[first].rungs
        sizes = [f"{_size(rung.parameters)} parameters\n{rung.flops:.1e} FLOPs" for rung in rungs]
        axis.set_xticks([rung.flops for rung in rungs], sizes)
        axis.set_xticks([], minor=True)
        axis.margins(x=0.25)
        axis.set_ylabel(f"{PRICE_METRIC} − causal LM\n(bits per byte, less is better)")
        quiet_grid(axis)
        figure.legend(loc="outside right upper", frameon=False)
    return figure


def _draw_price(axis: Axes, label: str, ladder: Ladder, slope: Slope, place: int) -> None:
    # Beside each other, so that no interval hides another.
    flops = [rung.flops * 1.03 ** (place - 2) for rung in ladder.rungs if rung.label in slope.effects]
    effects = slope.effects.values()
    values = [effect.value for effect in effects]
    sides = [[effect.value - effect.low for effect in effects], [effect.high - effect.value for effect in effects]]
    axis.errorbar(flops, values, sides, color=COLOURS[place], marker="o", markersize=4, capsize=3, label=label)


def declared() -> set[str | None]:
    """Return the names of the lessons in the archive."""
    return {grid.declaration.name for grid in open_logs(ARCHIVE).grids()}


def filled(page: str) -> str:
    """Return the page with the table of every lesson that is in the archive, and a note where one is not."""
    known = declared()

    def table(mark: re.Match[str]) -> str:
        name = mark["name"]
        text = f"Not yet run: `experiment={name}`.\n"
        if name == "noise":
            text = markdown_table(noise_table(), numbers_from=2) + "\n"
        elif name in known:
            text = text_of(ablate.lesson(name, ARCHIVE))
        return f"{mark[1]}{text}{mark[3]}"

    return MARKED.sub(table, page)


if __name__ == "__main__":
    path = DOCS / "lessons.md"
    path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
    save(draw_prices(), DOCS, "lessons-prices", ["png"])
