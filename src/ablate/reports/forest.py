"""The declared comparisons as intervals, beside the smallest effect."""

from matplotlib.figure import Figure

from ablate.lessons.contrast import Contrast
from ablate.lessons.lesson import Lesson
from ablate.lessons.verdict import Verdict
from ablate.reports.figure import label_text, style
from ablate.reports.wording import direction

COLOUR_OF = {
    Verdict.BETTER: "#009E73",
    Verdict.WORSE: "#D55E00",
    Verdict.EQUIVALENT: "#0072B2",
    Verdict.UNDECIDED: "#777777",
}
# More would not fit; the tables have all.
MAX_ROWS = 20


def draw_forest(lesson: Lesson) -> Figure:
    """Draw a row per declared comparison, with ± the smallest effect as a band."""
    shown = lesson.comparisons[:MAX_ROWS]
    effect = lesson.results.declaration.smallest_effect
    with style():
        labels = [_label(lesson, comparison.contrast) for comparison in shown]
        lines = sum(max(2, label.count("\n") + 1) for label in labels)
        figure = Figure(figsize=(7.2, 1.2 + 0.21 * max(2, lines)), layout="constrained")
        axis = figure.add_subplot()
        axis.axvspan(-effect, effect, color="#0072B2", alpha=0.10, linewidth=0)
        axis.axvline(0, color="#555555", linewidth=0.8)
        for place, comparison in enumerate(shown):
            colour = COLOUR_OF[lesson.verdict(comparison)]
            if comparison.low is not None and comparison.high is not None:
                axis.plot([comparison.low, comparison.high], [place, place], color=colour, linewidth=2.2)
            axis.plot([comparison.difference], [place], "o", color=colour, markersize=5)
            axis.annotate(
                str(lesson.verdicts[comparison.contrast.name]),
                (1.01, place),
                xycoords=("axes fraction", "data"),
                va="center",
                color=colour,
                annotation_clip=False,
            )
        axis.set_yticks(range(len(shown)), labels)
        axis.set_ylim(len(shown) - 0.5, -0.5)
        axis.spines["left"].set_visible(False)
        axis.tick_params(axis="y", length=0)
        axis.set_xlabel(_unit(lesson))
    return figure


def _label(lesson: Lesson, contrast: Contrast) -> str:
    is_arm = any(arm.label == contrast.name for arm in lesson.results.arms)
    name = label_text(f"{contrast.name} − {lesson.results.baseline}" if is_arm else contrast.name)
    return name if contrast.metric == lesson.results.primary_metric else f"{name}\n{contrast.metric}"


def _unit(lesson: Lesson) -> str:
    primary, effect = lesson.results.primary_metric, lesson.results.declaration.smallest_effect
    unit = lesson.results.metric(primary).unit
    return f"difference in {primary} ({unit}, {direction(lesson, primary)}); band: ±{effect:g}"
