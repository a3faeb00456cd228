"""Tables of scores: one amount per metric and document, and what it is counted by."""

from collections.abc import Iterable

import pandas as pd

from ablate.evaluation.suite import Row


def table(rows: Iterable[Row]) -> pd.DataFrame:
    """Columns metric, source, document, amount, units; one row per metric and document."""
    scores = pd.DataFrame(list(rows), columns=list(Row._fields))
    return scores.groupby(["metric", "source", "document"], as_index=False, sort=False)[["amount", "units"]].sum()


def summary(documents: pd.DataFrame) -> dict[str, float]:
    """`metric/source`, the amount per unit over all units of the source, and `metric`, the mean over sources.

    Sources weigh the same however long their documents are; no trial has another weighting. `metric/code` is the mean
    over `metric/code.sympy`, `metric/code.networkx`, … where the source `code` has several readers. A suite
    without sources has rows of the source "", and `metric` alone.
    """
    sums = documents.groupby(["metric", "source"], sort=False, as_index=False)[["amount", "units"]].sum()
    sums["value"] = sums["amount"] / sums["units"]
    by_source = {
        f"{metric}/{source}": float(value)
        for metric, source, value in zip(sums["metric"], sums["source"], sums["value"], strict=True)
        if source
    }
    sums["whole"] = sums["source"].str.partition(".")[0]
    of_readers = sums[sums["source"] != sums["whole"]]
    several = of_readers.groupby(["metric", "whole"], as_index=False)["value"].mean()
    by_source |= {f"{row.metric}/{row.whole}": float(row.value) for row in several.itertuples()}
    return by_source | {str(metric): float(value) for metric, value in sums.groupby("metric")["value"].mean().items()}
