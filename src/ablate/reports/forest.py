"""The declared comparisons as intervals, beside the smallest effect that matters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablate.lessons.contrast import Contrast
from ablate.lessons.estimate import Comparison
from ablate.lessons.lesson import Lesson
from ablate.lessons.verdict import Verdict
from ablate.reports.figure import INK, LINE, QUIET, label_text, style
from ablate.reports.wording import typographic

COLOUR_OF = {
    Verdict.BETTER: "#009E73",
    Verdict.WORSE: "#D55E00",
    Verdict.EQUIVALENT: "#0072B2",
    Verdict.UNDECIDED: "#777777",
}
BAND = COLOUR_OF[Verdict.EQUIVALENT]
# More would not fit; the tables have all.
MAX_ROWS = 20
# Inches. A narrow figure has each label and verdict above its interval, a wide one beside it.
WIDE, NARROW = 7.2, 4.6
TRACK, LINE_OF_TEXT, FRAME = 0.46, 0.16, 1.0
VERDICT_CHARACTERS = 24


def draw_forest(lesson: Lesson, width: float = WIDE) -> Figure:
    """Draw a row per declared comparison, and a panel per metric and smallest effect, with ± that effect as a band.

    Long labels are folded, so that they leave the axis its room.
    """
    panels: dict[tuple[str, float], list[_Row]] = {}
    for comparison in lesson.comparisons[:MAX_ROWS]:
        panel = comparison.contrast.metric, lesson.results.smallest_effect(comparison.contrast)
        panels.setdefault(panel, []).append(_Row.of(lesson, comparison, width))
    heights = [sum(row.height for row in of_panel) for of_panel in panels.values()] or [TRACK]
    with style():
        figure = Figure(figsize=(width, sum(heights) + FRAME * len(heights)), layout="constrained")
        axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, ((metric, effect), of_panel) in zip(axes, panels.items(), strict=False):
            _draw_panel(axis, lesson, metric, effect, of_panel)
    return figure


@dataclass(frozen=True)
class _Row:
    """A comparison with its texts and its height in inches, of which `text` is above the interval."""

    comparison: Comparison
    label: str
    verdict: str
    colour: str
    text: float
    height: float

    @classmethod
    def of(cls, lesson: Lesson, comparison: Comparison, width: float) -> "_Row":
        verdict = lesson.verdicts[comparison.contrast.name]
        label = label_text(_label(lesson, comparison.contrast))
        shown = label_text(str(verdict), VERDICT_CHARACTERS)
        lines = 1 + max(label.count("\n"), shown.count("\n"))
        # Also a comparison with values is without a verdict where another suite has no scores.
        colour = COLOUR_OF.get(verdict.verdict, COLOUR_OF[Verdict.UNDECIDED])
        if width < WIDE:
            return cls(comparison, label, shown, colour, LINE_OF_TEXT * lines + 0.1, LINE_OF_TEXT * lines + 0.4)
        return cls(comparison, label, shown, colour, 0.0, TRACK + LINE_OF_TEXT * (lines - 1))


def _draw_panel(axis: Axes, lesson: Lesson, metric: str, effect: float, rows: Sequence[_Row]) -> None:
    """Draw one metric's comparisons from top to bottom; y is in inches."""
    top = 0.0
    for row in rows:
        if row.text:
            _draw_row_below_text(axis, row, top, effect)
        else:
            _draw_row_beside_text(axis, row, top)
        top += row.height
        if row is not rows[-1]:
            axis.axhline(top, color=LINE, linewidth=0.6, zorder=0)
    if not rows[0].text:
        axis.axvspan(-effect, effect, color=BAND, alpha=0.10, linewidth=0, zorder=0.5)
        axis.axvline(0, color=QUIET, linewidth=0.8, zorder=0.6)
    axis.set_ylim(top, 0)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    ends = [end for row in rows for end in _ends(row.comparison)]
    low, high = min(-1.25 * effect, *ends), max(1.25 * effect, *ends)
    axis.set_xlim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    axis.locator_params(axis="x", nbins=6)
    better, worse = ("left", "right") if lesson.results.metric(metric).less_is_better else ("right", "left")
    for verdict, side in ((Verdict.BETTER, better), (Verdict.WORSE, worse)):
        text = f"← {verdict}" if side == "left" else f"{verdict} →"
        _text(axis, text, (float(side == "right"), 1), (0, 4), in_axes=True, color=QUIET, ha=side, fontsize="small")
    unit = lesson.results.metric(metric).unit
    about = f"difference in {metric} ({unit})\nshaded: less than ±{effect:g}, too small to matter"
    if any(row.comparison.variance for row in rows):
        about += "\nthin: other seeds and documents · thick: other seeds alone"
    axis.set_xlabel(about, color=QUIET)


def _draw_row_beside_text(axis: Axes, row: _Row, top: float) -> None:
    """Draw a label on the left, the interval, and the verdict above its numbers on the right."""
    middle = top + row.height / 2
    _draw_interval(axis, row, middle)
    _text(axis, row.label, (0, middle), (-10, 0), color=INK, ha="right", va="center", linespacing=1.1)
    below = LINE_OF_TEXT * row.verdict.count("\n")
    place = middle + (0 if row.comparison.low is None else below / 2)
    _text(axis, row.verdict, (1, place), (10, 0), color=row.colour, ha="left", va="bottom", weight="bold")
    _text(axis, _numbers(row.comparison), (1, place), (10, -2), color=QUIET, ha="left", va="top", fontsize="small")


def _draw_row_below_text(axis: Axes, row: _Row, top: float, effect: float) -> None:
    """Draw a label and a verdict, and the interval with its band below them."""
    bottom = top + row.height - 0.06
    axis.fill_between([-effect, effect], top + row.text, bottom, color=BAND, alpha=0.14, linewidth=0)
    axis.plot([0, 0], [top + row.text, bottom], color=QUIET, linewidth=0.8)
    _draw_interval(axis, row, (top + row.text + bottom) / 2)
    _text(axis, row.label, (0, top + 0.06), (0, 0), color=INK, ha="left", va="top", linespacing=1.1)
    _text(axis, row.verdict, (1, top + 0.06), (0, 0), color=row.colour, ha="right", va="top", weight="bold")


def _draw_interval(axis: Axes, row: _Row, place: float) -> None:
    comparison = row.comparison
    if comparison.low is not None and comparison.high is not None:
        ends = [comparison.low, comparison.high]
        axis.plot(ends, [place, place], color=row.colour, linewidth=1.4, solid_capstyle="round")
    if comparison.low_over_seeds is not None and comparison.high_over_seeds is not None:
        over_seeds = [comparison.low_over_seeds, comparison.high_over_seeds]
        axis.plot(over_seeds, [place, place], color=row.colour, linewidth=3.4, solid_capstyle="butt")
    axis.plot([comparison.difference], [place], "o", color=row.colour, markersize=6.5)


def _text(
    axis: Axes, text: str, at: tuple[float, float], offset: tuple[float, float], *, in_axes: bool = False, **style: Any
) -> None:
    """Draw text at a fraction of the width, and at a height in inches or a fraction of it."""
    system = "axes fraction" if in_axes else ("axes fraction", "data")
    axis.annotate(text, at, xytext=offset, xycoords=system, textcoords="offset points", annotation_clip=False, **style)


def _ends(comparison: Comparison) -> list[float]:
    return [end for end in (comparison.low, comparison.high, comparison.difference) if end is not None]


def _numbers(comparison: Comparison) -> str:
    interval = "" if comparison.low is None else f" [{comparison.low:+.4f}, {comparison.high:+.4f}]"
    return typographic(f"{comparison.difference:+.4f}{interval}")


def _label(lesson: Lesson, contrast: Contrast) -> str:
    is_arm = any(arm.label == contrast.name for arm in lesson.results.arms)
    return f"{contrast.name} − {lesson.results.baseline_name}" if is_arm else contrast.name
