"""Variance components of a contrast: seeds, held-out documents, and their interaction.

A comparison's interval covers other seeds on the same documents; these components say what other documents would add.
Shapes: `S` seeds, `D` documents of one source.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ablate.lessons.contrast import Contrast
from ablate.lessons.critical_values import Floats
from ablate.lessons.grid_results import GridResults


@dataclass(frozen=True)
class VarianceComponents:
    """The variance of an estimate by its cause, in the metric's unit squared."""

    seed: float
    document: float
    seed_by_document: float

    @property
    def total(self) -> float:
        """The variance with other seeds and other documents."""
        return self.seed + self.document + self.seed_by_document

    @property
    def of_seeds(self) -> float:
        """The variance with other seeds on the same documents, which the interval covers."""
        return self.seed + self.seed_by_document


def variance_components(results: GridResults, contrast: Contrast) -> VarianceComponents | None:
    """Estimate the components from mean squares of a seeds × documents table per source.

    The metric is the mean over sources, each bits over bytes. None where the logs keep no scores of single documents,
    or with fewer than two seeds or documents. (Searle et al. 1992, section 4.3.)
    """
    tables = _tables(results, contrast)
    if tables is None or min(min(table.shape) for table in tables.values()) < 2:
        return None
    sources = len(tables)
    document = interaction = 0.0
    for table_SD in tables.values():
        seeds, documents = table_SD.shape
        centred = table_SD - table_SD.mean(axis=1, keepdims=True)
        residual = ((centred - centred.mean(axis=0)) ** 2).sum() / ((seeds - 1) * (documents - 1))
        of_documents = seeds * (centred.mean(axis=0) ** 2).sum() / (documents - 1)
        document += max(0.0, (of_documents - residual) / seeds) / documents / sources**2
        interaction += residual / documents / seeds / sources**2
    of_seeds = np.mean([table.mean(axis=1) for table in tables.values()], axis=0)
    both = float(of_seeds.var(ddof=1)) / len(of_seeds)
    # Seeds may vary less than the interaction alone predicts; the seed component is then 0.
    return VarianceComponents(max(0.0, both - interaction), document, min(interaction, both))


def _tables(results: GridResults, contrast: Contrast) -> dict[str, Floats] | None:
    """Return source → contrast values, scaled so that their mean over documents is the metric."""
    name, _, source = contrast.metric.partition("/")
    seeds = results.paired_values(contrast).columns
    weighted = []
    for arm in results.arms:
        for seed, trial in arm.trials.items():
            if arm.label in contrast.weights and seed in seeds:
                documents = results.logs.documents(trial, results.grid.suite_ids)
                if documents is None:
                    return None
                rows = documents[documents["metric"] == name]
                if source:
                    rows = rows[rows["source"] == source]
                weighted.append(rows.assign(seed=seed, amount=rows["amount"] * contrast.weights[arm.label]))
    if not weighted or all(table.empty for table in weighted):
        return None
    return dict(_by_source(pd.concat(weighted, ignore_index=True), len(contrast.weights)))


def _by_source(weighted: pd.DataFrame, arms: int) -> Iterable[tuple[str, Floats]]:
    for source, rows in weighted.groupby("source"):
        amounts = rows.pivot_table(index="seed", columns="document", values="amount", aggfunc="sum")
        units = rows.groupby("document")["units"].sum() / (arms * len(amounts))
        yield str(source), amounts.to_numpy() * len(units) / float(units.sum())
