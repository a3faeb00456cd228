"""Scores of text that hardly overlaps with the training text: each metric again, as `<metric>_clean`."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ablate.evaluation.suite import Row
from ablate.records.metric import Metric

# A passage is clean if less than this fraction of its 13-grams also occurs in the training text.
CLEAN_BELOW = 0.1
# (13-grams that also occur in the training text, all 13-grams); None where the preparation did not measure it.
Overlap = tuple[int, int] | None


def with_clean(metrics: Iterable[Metric]) -> tuple[Metric, ...]:
    """Return the metrics, each followed by its variant for clean text."""
    return tuple(
        variant
        for metric in metrics
        for variant in (
            metric,
            replace(
                metric,
                name=f"{metric.name}_clean",
                variant_of=metric.variant_of or metric.name,
                meaning=f"{metric.name} on text that shares less than a tenth of its 13-grams with the training text.",
            ),
        )
    )


def rows_with_clean(row: Row, overlap: Overlap) -> Iterator[Row]:
    """Yield a row, and again under the clean metric if its text is clean."""
    yield row
    if overlap is not None and overlap[0] < CLEAN_BELOW * max(1, overlap[1]):
        yield row._replace(metric=f"{row.metric}_clean")
