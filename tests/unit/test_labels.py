"""Labels in figures are text, however they look."""

import warnings
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ablate.lessons.lesson import Lesson
from ablate.reports.curves import draw_curves
from ablate.reports.figure import label_text, save
from ablate.reports.forest import draw_forest
from tests.support.ledgers import make_grid

LONG = "objective.tasks.span_corruption.noise.mean_span_tokens=3 / mixture.weights.english=0.25 / " * 3


@pytest.mark.parametrize("label", ["$a_b$", "$^{$", "_hidden", "a\\frac{b}", "100% of $1", LONG])
def test_a_label_is_shown_as_it_is(tmp_path: Path, label: str) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, label: -0.1}, seeds=2)
    lesson = Lesson.of(results)
    curves, forest = draw_curves(lesson), draw_forest(lesson)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in (curves, forest):
            assert save(figure, tmp_path, "figure", ("png", "pdf", "svg"))
    [legend] = curves.legends
    shown = [text.get_text() for text in legend.get_texts()]
    texts = [text for text in forest.axes[0].texts if text.get_text().strip()]
    assert len(shown) == 2
    if label != LONG:
        assert shown[1].strip() == label
        assert f"{shown[1]} − causal" in [text.get_text() for text in texts]
    assert not any(text.get_parse_math() for text in [*legend.get_texts(), *texts])
    for figure in (curves, forest):
        FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]
        assert figure.axes[0].get_position().width > 0.35


def test_a_long_label_keeps_its_two_ends() -> None:
    assert label_text("short") == "short"
    lines = label_text(LONG).split("\n")
    assert max(map(len, lines)) <= 33
    assert lines[0].startswith("objective.tasks")
    assert lines[-1].endswith("english=0.25 /")
