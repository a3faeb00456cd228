"""What evaluations find: one amount per metric and document, and what it is counted in."""

from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd


class Row(NamedTuple):
    """One finding.

    Attributes:
        amount: of what the metric counts, e.g. bits or spans that were met.
        units: of what it is counted by, e.g. bytes or spans.
    """

    metric: str
    source: str
    document: str
    amount: float
    units: float


def table(rows: Iterable[Row]) -> pd.DataFrame:
    """Columns metric, source, document, amount, units; one row per metric and document."""
    found = pd.DataFrame(list(rows), columns=list(Row._fields))
    return found.groupby(["metric", "source", "document"], as_index=False, sort=False)[["amount", "units"]].sum()


def summary(documents: pd.DataFrame) -> dict[str, float]:
    """`metric/source`, the amount per unit over all units of the source, and `metric`, the mean over sources.

    Sources weigh the same however long their documents are; no trial sees another weighting.
    """
    sums = documents.groupby(["metric", "source"], sort=False, as_index=False)[["amount", "units"]].sum()
    sums["value"] = sums["amount"] / sums["units"]
    found = {f"{row.metric}/{row.source}": float(row.value) for row in sums.itertuples()}  # type: ignore[arg-type]
    return found | {str(metric): float(value) for metric, value in sums.groupby("metric")["value"].mean().items()}
