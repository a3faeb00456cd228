"""Write the tables of docs/lessons.md and the figure of prices from the archive: python docs/lessons_page.py.

A table stands between `<!-- NAME -->` and `<!-- /NAME -->` (a lesson). The comparisons of a study have names
as `0.6M, prefix LM − causal LM`: each gets a row, and each size a column.
"""

import re
from collections.abc import Iterator
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
PRICE_METRIC = "bpb_full"
MARKED = re.compile(r"(<!-- (?P<name>\w+) -->\n).*?(<!-- /(?P=name) -->)", re.DOTALL)


def by_size(lesson: Lesson) -> pd.DataFrame:
    """Return a row per comparison and a column per size: difference, interval, seeds and verdict."""
    cells: dict[str, dict[str, str]] = {}
    for comparison in lesson.comparisons:
        size, _, name = comparison.contrast.name.partition(", ")
        metric = comparison.contrast.metric
        row = name if metric == lesson.results.primary_metric else f"{name} (`{metric}`)"
        cells.setdefault(row, {})[size] = _cell(lesson, comparison)
    return pd.DataFrame(cells).T.fillna("not yet run").rename_axis("comparison").reset_index()


def _cell(lesson: Lesson, comparison: Comparison) -> str:
    verdict = f"**{lesson.verdicts[comparison.contrast.name]}**"
    if comparison.low is None or comparison.high is None:
        return f"{typographic(f'{comparison.difference:+.4f}')}, {verdict}"
    numbers = f"{comparison.difference:+.4f} [{comparison.low:+.4f}, {comparison.high:+.4f}]"
    return f"{typographic(numbers)}, {comparison.seeds} seeds: {verdict}"


def text_of(lesson: Lesson) -> str:
    """Return the table, and a line about it."""
    return f"{markdown_table(by_size(lesson), numbers_from=3)}\n\n{'. '.join(_facts(lesson))}.\n"


def _facts(lesson: Lesson) -> Iterator[str]:
    results = lesson.results
    yield f"`{results.primary_metric}` unless said otherwise"
    if results.missing:
        yield "Trials are still missing"


def draw_prices() -> Figure:
    """Draw what each objective of `PRICES` that was run costs at each size, with the smallest effect as a band."""
    known = declared()
    names = dict.fromkeys(name for name, _ in PRICES.values() if name in known)
    lessons = {name: ablate.lesson(name, ARCHIVE) for name in names}
    ladders = {name: Ladder.of([lesson.results], PRICE_METRIC) for name, lesson in lessons.items()}
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
        sizes = [f"{rung.parameters / 1e6:.1f}M parameters\n{rung.flops:.1e} FLOPs" for rung in rungs]
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

    def table(found: re.Match[str]) -> str:
        name = found["name"]
        text = text_of(ablate.lesson(name, ARCHIVE)) if name in known else f"Not yet run: `experiment={name}`.\n"
        return f"{found[1]}{text}{found[3]}"

    return MARKED.sub(table, page)


if __name__ == "__main__":
    path = DOCS / "lessons.md"
    path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
    save(draw_prices(), DOCS, "lessons-prices", ["png"])
