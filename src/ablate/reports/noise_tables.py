"""Tables about noise: required seeds, variance components, and A/A tests."""

from collections.abc import Iterable, Mapping

import pandas as pd

from ablate.lessons.aa_test import AAComparison
from ablate.lessons.lesson import Lesson
from ablate.lessons.power import MAX_SEEDS, RequiredSeeds, required_seeds
from ablate.lessons.variance import VarianceComponents


def required_seeds_table(lessons: Mapping[str, Lesson]) -> pd.DataFrame:
    """One row per declared contrast of two arms."""
    return by_lesson(
        {name: map(_required_seeds_row, required_seeds(lesson.results)) for name, lesson in lessons.items()}
    )


def _required_seeds_row(row: RequiredSeeds) -> dict[str, str]:
    return {
        "comparison": row.contrast,
        "metric": row.metric,
        "difference": f"{row.difference:+.4f}",
        "deviation of the difference": f"{row.paired_deviation:.4f}",
        "of the arms": f"{row.deviations[0]:.4f}, {row.deviations[1]:.4f}",
        "correlation": f"{row.correlation:.2f}",
        "seeds, paired": str(row.paired or f"> {MAX_SEEDS}"),
        "seeds, Welch": str(row.welch or f"> {MAX_SEEDS}"),
    }


def variance_table(lessons: Mapping[str, Lesson]) -> pd.DataFrame:
    """One row per declared comparison whose documents were scored one by one."""
    return by_lesson({name: _variance_rows(lesson) for name, lesson in lessons.items()})


def _variance_rows(lesson: Lesson) -> Iterable[dict[str, str]]:
    for comparison in lesson.comparisons:
        variance = comparison.variance
        if variance is not None and variance.total > 0:
            yield {
                "comparison": comparison.contrast.name,
                "metric": comparison.contrast.metric,
                **{name: f"{fraction:.0%}" for name, fraction in variance_fractions(variance).items()},
                "standard error, other seeds": f"{variance.of_seeds**0.5:.4f}",
                "other seeds and documents": f"{variance.total**0.5:.4f}",
            }


def variance_fractions(variance: VarianceComponents) -> dict[str, float]:
    """Component → fraction of the total variance."""
    total = variance.total or 1.0
    return {
        "seed": variance.seed / total,
        "document": variance.document / total,
        "seed × document": variance.seed_by_document / total,
    }


def aa_table(comparisons: Iterable[AAComparison]) -> pd.DataFrame:
    """One row per A/A comparison."""
    return pd.DataFrame(
        {
            "data seeds": ", ".join(comparison.data_seeds),
            "difference": f"{comparison.difference:+.4f}",
            "interval": f"[{comparison.low:+.4f}, {comparison.high:+.4f}]",
            "claimed": "a difference" if comparison.is_false_positive else "",
        }
        for comparison in comparisons
    )


def by_lesson(rows: Mapping[str, Iterable[Mapping[str, str]]]) -> pd.DataFrame:
    """One table with the lesson's name in its first column."""
    return pd.DataFrame({"lesson": name, **row} for name, of_lesson in rows.items() for row in of_lesson)
