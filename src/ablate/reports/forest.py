"""The declared comparisons as intervals beside what would matter."""

from matplotlib.figure import Figure

from ablate.lessons.lesson import Lesson
from ablate.lessons.metric import metric
from ablate.lessons.verdict import Verdict
from ablate.reports.figure import style

COLOUR_OF = {
    Verdict.BETTER: "#009E73",
    Verdict.WORSE: "#D55E00",
    Verdict.EQUIVALENT: "#0072B2",
    Verdict.UNDECIDED: "#777777",
}
# As many as a page has room for; the tables have all.
MOST_ROWS = 20


def draw_forest(found: Lesson) -> Figure:
    """A row per declared comparison that could be made, with ± the smallest effect as a band."""
    shown = found.comparisons[:MOST_ROWS]
    effect = found.results.declaration.smallest_effect
    with style():
        figure = Figure(figsize=(7.2, 1.2 + 0.42 * max(1, len(shown))), layout="constrained")
        axis = figure.add_subplot()
        axis.axvspan(-effect, effect, color="#0072B2", alpha=0.10, linewidth=0)
        axis.axvline(0, color="#555555", linewidth=0.8)
        for place, comparison in enumerate(shown):
            word = found.word(comparison)
            colour = COLOUR_OF[word]
            if comparison.low is not None and comparison.high is not None:
                axis.plot([comparison.low, comparison.high], [place, place], color=colour, linewidth=2.2)
            axis.plot([comparison.difference], [place], "o", color=colour, markersize=5)
            told = found.words[comparison.contrast.name]
            axis.annotate(
                told,
                (1.01, place),
                xycoords=("axes fraction", "data"),
                va="center",
                color=colour,
                annotation_clip=False,
            )
        axis.set_yticks(range(len(shown)), [_label(found, number) for number in range(len(shown))])
        axis.set_ylim(len(shown) - 0.5, -0.5)
        axis.spines["left"].set_visible(False)
        axis.tick_params(axis="y", length=0)
        axis.set_xlabel(_unit(found))
    return figure


def _label(found: Lesson, place: int) -> str:
    contrast = found.comparisons[place].contrast
    is_arm = any(arm.label == contrast.name for arm in found.results.arms)
    name = f"{contrast.name} − {found.results.baseline}" if is_arm else contrast.name
    return name if contrast.metric == found.results.primary_metric else f"{name}\n{contrast.metric}"


def _unit(found: Lesson) -> str:
    primary = found.results.primary_metric
    less = metric(primary).less_is_better
    effect = found.results.declaration.smallest_effect
    return (
        f"difference in {primary} ({metric(primary).unit}, {'less' if less else 'more'} is better); band: ±{effect:g}"
    )
