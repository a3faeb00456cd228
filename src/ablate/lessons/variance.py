"""Where the noise of a comparison comes from: seeds, held-out documents, or how the two meet.

A comparison's interval covers other seeds on the same documents. What other documents would add is told beside it.
Shapes: `S` seeds, `D` documents of one source.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ablate.lessons.contrast import Contrast
from ablate.lessons.critical_values import Floats
from ablate.lessons.grid_results import GridResults


@dataclass(frozen=True)
class VarianceFractions:
    """The variance of an estimate, by what would be drawn anew; in the metric's unit, squared."""

    seed: float
    document: float
    seed_by_document: float

    @property
    def total(self) -> float:
        """With other seeds and other documents."""
        return self.seed + self.document + self.seed_by_document

    @property
    def of_seeds(self) -> float:
        """With other seeds on these documents: what the interval covers."""
        return self.seed + self.seed_by_document


def variance_fractions(results: GridResults, contrast: Contrast) -> VarianceFractions | None:
    """The shares of a contrast on its metric; None where logs keep no documents or there are not two of each.

    Two-way tables of seeds and documents, one per source, by their mean squares (Searle et al. 1992, section 4.3); the
    metric is the mean of its sources, each bits over bytes.
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
    # Where the seeds spread less than documents alone would make them, all of it is the documents'.
    return VarianceFractions(max(0.0, both - interaction), document, min(interaction, both))


def _tables(results: GridResults, contrast: Contrast) -> dict[str, Floats] | None:
    """By source, the contrast of each seed and document, scaled so that the mean over documents is the metric's."""
    name, _, source = contrast.metric.partition("/")
    weighted = []
    for arm in results.arms:
        for seed, trial in arm.trials.items():
            if arm.label in contrast.weights and seed in results.values(contrast.metric).columns:
                found = results.logs.documents(trial, results.grid["evaluation_id"])
                if found is None:
                    return None
                kept = found[(found["metric"] == name) & found["source"].isin([source] if source else found["source"])]
                part = kept.groupby(["source", "document"], as_index=False)[["amount", "units"]].sum()
                weighted.append(part.assign(seed=seed, amount=part["amount"] * contrast.weights[arm.label]))
    if not weighted or all(part.empty for part in weighted):
        return None
    return dict(_by_source(pd.concat(weighted, ignore_index=True), len(contrast.weights)))


def _by_source(weighted: pd.DataFrame, arms: int) -> Iterable[tuple[str, Floats]]:
    for source, rows in weighted.groupby("source"):
        amounts = rows.pivot_table(index="seed", columns="document", values="amount", aggfunc="sum")
        units = rows.groupby("document")["units"].sum() / (arms * len(amounts))
        yield str(source), amounts.to_numpy() * len(units) / float(units.sum())


def sentence(shares: Mapping[str, VarianceFractions], seeds: int) -> str:
    """Which population the intervals cover, with the numbers, for the widest of these comparisons."""
    name, widest = max(shares.items(), key=lambda item: item[1].total)
    total = widest.total or 1.0
    return (
        f"The intervals cover other seeds on these documents. With other documents too, the standard error of {name} "
        f"over {seeds} seeds would be {widest.total**0.5:.4f}, not {widest.of_seeds**0.5:.4f}: of that variance, "
        f"seeds {widest.seed / total:.0%}, documents {widest.document / total:.0%}, seed × document "
        f"{widest.seed_by_document / total:.0%}."
    )
