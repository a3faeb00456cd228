"""The page's cards: a declared contrast each, with its verdict and a drawing of its interval."""

from typing import Any

from ablate.lessons.contrast import Contrast
from ablate.lessons.estimate import Comparison
from ablate.lessons.lesson import Lesson
from ablate.reports.wording import typographic

# A drawing reaches at most so many smallest effects; an interval beyond it is an arrow.
MAX_REACH_IN_EFFECTS = 10
# A card names the arms of its contrast where they are at most so many.
MAX_TERMS = 4


def cards(lesson: Lesson) -> list[dict[str, Any]]:
    """One card per declared contrast; the drawings of one metric share a scale."""
    comparisons = {comparison.contrast.name: comparison for comparison in lesson.comparisons}
    return [
        {
            "name": contrast.name,
            "terms": _terms(contrast, lesson.results.baseline),
            "metric": contrast.metric,
            "effect": f"{lesson.results.smallest_effect(contrast):g}",
            "less_is_better": lesson.results.metric(contrast.metric).less_is_better,
            "verdict": lesson.verdicts[contrast.name],
            **(_drawing(lesson, comparisons[contrast.name]) if contrast.name in comparisons else {"difference": None}),
        }
        for contrast in lesson.results.contrasts
    ]


def signed(value: float) -> str:
    """A number with its sign, in typographic form."""
    return typographic(f"{value:+.4f}")


def interval(low: float | None, high: float | None) -> str:
    """`[low, high]`, or nothing where no noise is known."""
    return "" if low is None or high is None else f"[{signed(low)}, {signed(high)}]"


def _terms(contrast: Contrast, baseline: str) -> str:
    """What is compared, where the name does not say it."""
    if contrast.weights == {contrast.name: 1.0, baseline: -1.0}:
        return f"compared with {baseline}"
    if len(contrast.weights) > MAX_TERMS:
        return f"of {len(contrast.weights)} arms"
    terms = sorted(contrast.weights.items(), key=lambda term: term[1] < 0)
    sizes = ["" if abs(weight) == 1 else f"{abs(weight):.3g} × " for _, weight in terms]
    signs = ["−" if weight < 0 else "+" for _, weight in terms]
    text = " ".join(f"{sign} {size}{arm}" for sign, size, (arm, _) in zip(signs, sizes, terms, strict=True))
    return text.removeprefix("+ ")


def _drawing(lesson: Lesson, comparison: Comparison) -> dict[str, Any]:
    """A comparison's numbers, and its interval in percent of the drawing's width."""
    effect = lesson.results.smallest_effect(comparison.contrast)
    same_scale = [each for each in lesson.comparisons if each.contrast.metric == comparison.contrast.metric]
    ends = [abs(end) for each in same_scale for end in (each.low, each.high, each.difference) if end is not None]
    reach = min(MAX_REACH_IN_EFFECTS * effect, 1.1 * max(1.5 * effect, *ends))

    def place(value: float) -> float:
        return round(50 + 50 * max(-1.0, min(1.0, value / float(reach))), 2)

    low, high = comparison.low, comparison.high
    return {
        "difference": signed(comparison.difference),
        "interval": interval(low, high),
        "over_seeds": interval(comparison.low_over_seeds, comparison.high_over_seeds) if comparison.variance else "",
        "at": place(comparison.difference),
        "line": None if low is None or high is None else (place(low), round(place(high) - place(low), 2)),
        "band": (place(-effect), round(place(effect) - place(-effect), 2)),
        "beyond": 0 if abs(comparison.difference) <= reach else 1 if comparison.difference > 0 else -1,
    }
