"""The rungs of a ladder: the sizes and budgets at which the same arms were trained.

Shapes: `A` arms, `S` seeds, `D` documents.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ablate.lessons.contrast import Contrast
from ablate.lessons.critical_values import Floats
from ablate.lessons.documents import Documents
from ablate.lessons.fits import Sizes
from ablate.lessons.grid_results import GridResults
from ablate.records.grid import arm_and_rung


@dataclass(frozen=True)
class Rung:
    """One size and budget.

    Attributes:
        label: its swept values; the grid's id where nothing was swept but arms.
        sizes: what the baseline computed, as a mean over its trials.
        parameters: of the baseline's model.
        values_AS: a row per arm, a column per seed, NaN where there is no score.
        documents_AD: what documents contribute to an arm's mean over seeds: a row per arm, a column per source and
            document; empty where it is not known.
    """

    label: str
    sizes: Sizes
    parameters: float
    values_AS: pd.DataFrame
    documents_AD: pd.DataFrame

    @property
    def flops(self) -> float:
        """The training FLOPs of the baseline."""
        return float(self.sizes.flops_R[0])

    def paired(self, arms: Sequence[str]) -> pd.DataFrame:
        """The values under the seeds that all of these arms have."""
        return self.values_AS.reindex(list(arms)).dropna(axis="columns")


def rungs_of(results: GridResults, metric: str, baseline: str, over: Sequence[str]) -> Iterator[Rung]:
    """The rungs of one grid that have the baseline's scores."""
    labels: dict[str, dict[str, str]] = {}
    for arm in results.all_arms:
        name, rung = arm_and_rung(arm.options, over)
        labels.setdefault(rung, {})[name] = arm.same_as or arm.label
    values, documents = results.values(metric), Documents(results)
    for rung, of_rung in labels.items():
        scored = {name: label for name, label in of_rung.items() if label in values.index}
        if baseline not in scored:
            continue
        table = values.loc[list(scored.values())].set_axis(list(scored)).dropna(axis="columns", how="all")
        means = {name: _of_documents(documents, metric, label) for name, label in scored.items()}
        known = pd.DataFrame(means).T if all(mean is not None for mean in means.values()) else pd.DataFrame()
        sizes, parameters = _sizes(results, scored[baseline])
        yield Rung(rung or results.grid_id, sizes, parameters, table, known)


def _sizes(results: GridResults, label: str) -> tuple[Sizes, float]:
    """What the trials of an arm computed, as means, and the parameters of its model."""
    trained = [result for trial in results.trials_of(label) if (result := results.records[trial].result) is not None]
    counters = [result.counters for result in trained]
    flops, tokens = (float(np.mean([getattr(each, name) for each in counters])) for name in ("flops", "train_tokens"))
    # A source that is read less than once is read for the first time throughout.
    first = [
        sum(read.fraction / max(1.0, read.epochs) for read in result.reading.values()) or 1.0 for result in trained
    ]
    sizes = Sizes(np.array([flops]), np.array([tokens]), np.array([tokens * float(np.mean(first))]))
    return sizes, float(np.mean([result.parameters for result in trained]))


def _of_documents(documents: Documents, metric: str, label: str) -> pd.Series | None:
    """What documents contribute to an arm's mean over seeds, by source and document; None where it is not known."""
    contributions = documents.of_contrast(Contrast(label, metric, {label: 1.0}))
    if not contributions:
        return None
    names = documents.names(metric)
    return pd.concat(
        {source: pd.Series(of_source.mean(axis=0), names[source]) for source, of_source in contributions.items()}
    )


def documents_of(rungs: Sequence[Rung], arms: Sequence[str]) -> list[Floats] | None:
    """The contributions of documents, `[A, D]` for each rung, over the documents of all rungs; 0 where one lacks one.

    None where a rung does not know them.
    """
    tables = [rung.documents_AD for rung in rungs]
    if any(table.empty for table in tables):
        return None
    columns = tables[0].columns
    for table in tables[1:]:
        columns = columns.union(table.columns)
    return [table.reindex(index=list(arms), columns=columns).fillna(0.0).to_numpy(float) for table in tables]
