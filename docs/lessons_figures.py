"""Draw the figures of docs/lessons.md, each with the smallest effect that matters as a band."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablate.lessons.ladder import Ladder
from ablate.lessons.lesson import Lesson
from ablate.reports.figure import COLOURS, QUIET, quiet_grid, style
from lessons_archive import archived, declared, size_and_name, size_of, sizes_of

# What each objective costs beside a causal LM: lesson and arm.
PRICES = {
    "prefix LM": ("lesson1_prefix_lm", "prefix / prefix_decoder"),
    "loss on a random half": ("lesson1_prefix_lm", "random_loss / prefix_decoder"),
    "mixed as a prefix LM": ("lesson3_mixed_objective", "mixed_prefix / none"),
    "mixed": ("lesson3_mixed_objective", "mixed / none"),
    "PSM at 0.5": ("lesson3_mixed_objective", "causal / psm"),
}
PRICE_METRIC = "bpb_full"


@dataclass(frozen=True)
class Panels:
    """Comparisons of a lesson, drawn over the number in their names.

    Attributes:
        pattern: names a comparison's panel and its number.
        over: what the number is.
        beside: what the comparisons compare with.
        scale: of the numbers.
    """

    pattern: re.Pattern[str]
    over: str
    beside: str
    scale: Literal["linear", "log"]


PANELS = {
    "lesson4_data_mixture": Panels(
        re.compile(r"(?P<panel>English|code), (?P<number>\d+)% code − .*"),
        "code in the training text, %",
        "the same text alone",
        "linear",
    ),
    "lesson5_multi_epoch": Panels(
        re.compile(r"(?P<panel>causal|mixed), (?P<number>\d+) epochs − 1"), "epochs", "one epoch", "log"
    ),
}
# A number, a difference, and the ends of its interval.
Point = tuple[float, float, float, float]


def figures() -> Iterator[tuple[str, Figure]]:
    """Yield the name of each figure whose lessons are in the archive, and the figure."""
    known = declared()
    priced = dict.fromkeys(name for name, _ in PRICES.values() if name in known)
    if priced:
        yield "lessons-prices", draw_prices({name: archived(name) for name in priced})
    for name, panels in PANELS.items():
        if name in known:
            yield name, draw_panels(archived(name), panels)


def draw_prices(lessons: dict[str, Lesson]) -> Figure:
    """Draw what each objective of `PRICES` that was run costs at each size."""
    ladders = {name: Ladder.of([lesson.results], PRICE_METRIC, over=["scale"]) for name, lesson in lessons.items()}
    first = next(iter(ladders))
    with style():
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        axis = figure.add_subplot()
        for place, (label, (name, arm)) in enumerate(PRICES.items()):
            for slope in ladders[name].slopes if name in ladders else []:
                if slope.name == arm and slope.effects:
                    flops = {rung.label: rung.flops for rung in ladders[name].rungs}
                    points = [
                        (flops[rung], effect.value, effect.low, effect.high) for rung, effect in slope.effects.items()
                    ]
                    _draw_line(axis, label, points, place)
        axis.set_xscale("log")
        rungs = ladders[first].rungs
        sizes = [f"{size_of(rung.parameters)} parameters\n{rung.flops:.1e} FLOPs" for rung in rungs]
        axis.set_xticks([rung.flops for rung in rungs], sizes)
        axis.set_xticks([], minor=True)
        axis.margins(x=0.25)
        axis.set_ylabel(f"{PRICE_METRIC} − causal LM\n(bits per byte, less is better)")
        _draw_band(axis, lessons[first])
        quiet_grid(axis)
        figure.legend(loc="outside right upper", frameon=False)
    return figure


def draw_panels(lesson: Lesson, panels: Panels) -> Figure:
    """Draw comparisons over the number in their names, with a line per size."""
    sizes = sizes_of(lesson)
    lines: dict[str, dict[str, list[Point]]] = {}
    for comparison in lesson.comparisons:
        size, name = size_and_name(comparison.contrast.name)
        match = panels.pattern.fullmatch(name)
        if match and comparison.low is not None and comparison.high is not None:
            point = (float(match["number"]), comparison.difference, comparison.low, comparison.high)
            lines.setdefault(match["panel"], {}).setdefault(sizes[size], []).append(point)
    with style():
        figure = Figure(figsize=(6.4, 3.0), layout="constrained")
        axes = figure.subplots(1, max(1, len(lines)), sharey=True, squeeze=False)[0]
        for axis, (title, by_size) in zip(axes, lines.items(), strict=False):
            for place, (size, points) in enumerate(by_size.items()):
                label = size if axis is axes[0] else ""
                _draw_line(axis, label, sorted(points), place)
            numbers = sorted({point[0] for points in by_size.values() for point in points})
            axis.set_xscale(panels.scale)
            axis.set_xticks(numbers, [f"{number:g}" for number in numbers])
            axis.set_xticks([], minor=True)
            axis.margins(x=0.15)
            axis.set_title(title, fontsize="medium")
            axis.set_xlabel(panels.over)
            _draw_band(axis, lesson)
            quiet_grid(axis)
        axes[0].set_ylabel(f"bits per byte − {panels.beside}\n(less is better)")
        figure.legend(loc="outside right upper", frameon=False)
    return figure


def _draw_line(axis: Axes, label: str, points: Sequence[Point], place: int) -> None:
    numbers, values, lows, highs = (np.array(part) for part in zip(*points, strict=True))
    # Beside each other, so that no interval hides another.
    beside = numbers * 1.03**place
    axis.errorbar(
        beside,
        values,
        [values - lows, highs - values],
        color=COLOURS[place],
        marker="o",
        markersize=4,
        capsize=3,
        label=label,
    )


def _draw_band(axis: Axes, lesson: Lesson) -> None:
    smallest = lesson.results.declaration.smallest_effect
    axis.axhspan(-smallest, smallest, color=QUIET, alpha=0.12, linewidth=0)
