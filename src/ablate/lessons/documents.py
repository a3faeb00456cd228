"""What each held-out document contributes to a comparison.

A metric is the mean over sources of amount / units (bits / bytes), each summed over the source's documents. A document
contributes (amount − ratio · units) / Σ units: contributions sum to 0, and the variance of their sum is that of the
ratio (linearised; Cochran 1977, section 6.4). Shapes: `S` seeds, `D` documents of one source.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from ablate.lessons.contrast import Contrast
from ablate.lessons.critical_values import Floats
from ablate.lessons.grid_results import GridResults

MIN_SEEDS, MIN_DOCUMENTS = 2, 2


@dataclass(frozen=True)
class Documents:
    """The scores of single documents of a grid's trials."""

    results: GridResults

    def contributions(self, contrasts: Sequence[Contrast]) -> dict[str, dict[str, Floats]]:
        """Return name of a contrast → source → contributions `[S, D]`, of contrasts with known ones."""
        by_name = {contrast.name: self.of_contrast(contrast) for contrast in contrasts}
        return {name: of_contrast for name, of_contrast in by_name.items() if of_contrast}

    def of_contrast(self, contrast: Contrast) -> dict[str, Floats]:
        """Return source → contributions `[S, D]` to a contrast, over the seeds whose trials keep scores of documents.

        Nothing with fewer than two such seeds, or fewer than two documents of a source: they say nothing of others.
        """
        tables = self._shares(contrast.metric)
        if not tables or any(table.shape[1] < MIN_DOCUMENTS for table in tables.values()):
            return {}
        trials = {arm.label: arm.trials for arm in self.results.arms if arm.label in contrast.weights}
        # Every table has the same trials.
        scored = next(iter(tables.values())).index
        paired = self.results.paired_seeds(contrast)
        seeds = [seed for seed in paired if all(of_arm[seed] in scored for of_arm in trials.values())]
        if len(seeds) < MIN_SEEDS:
            return {}
        places = {
            label: scored.get_indexer(pd.Index([of_arm[seed] for seed in seeds])) for label, of_arm in trials.items()
        }

        def combined(table: pd.DataFrame) -> Floats:
            shares_TD = table.to_numpy(float)
            of_arms = [weight * shares_TD[places[label]] for label, weight in contrast.weights.items()]
            total: Floats = np.sum(of_arms, axis=0)
            return total

        return {name: combined(table) for name, table in tables.items()}

    def names(self, metric: str) -> dict[str, pd.Index]:
        """Return source → documents in the order of the contributions to a metric."""
        return {source: table.columns for source, table in self._shares(metric).items()}

    def _shares(self, name: str) -> dict[str, pd.DataFrame]:
        """Return source → contributions to a metric, or to that of a source: a row per trial, a column per document.

        Made once for all contrasts of a metric: in a large grid there are as many of them as arms.
        """
        if name not in self._known_shares:
            metric, _, source = name.partition("/")
            tables = self._by_metric.get(metric, {})
            if source:
                tables = {key: table for key, table in tables.items() if key == source or key.startswith(f"{source}.")}
            # A source's own metric is its ratio; the whole metric is the mean over a trial's sources.
            counts = sum((table.notna().any(axis="columns").astype(int) for table in tables.values()), start=0)
            self._known_shares[name] = {
                key: table.fillna(0.0).div(counts, axis="index") for key, table in tables.items()
            }
        return self._known_shares[name]

    @cached_property
    def _known_shares(self) -> dict[str, dict[str, pd.DataFrame]]:
        """What `_shares` has computed, by the metric's name."""
        return {}

    @cached_property
    def _by_metric(self) -> dict[str, dict[str, pd.DataFrame]]:
        """Metric → source → contributions to the source's ratio: a row per trial, a column per document.

        NaN where a trial has no score of a document.
        """
        rows = self.results.documents(self.results.grid.suite_ids)
        if rows.empty:
            return {}
        trials = rows["trial"].unique()
        by_metric: dict[str, dict[str, pd.DataFrame]] = {}
        for (metric, source), of_source in rows.groupby(["metric", "source"], sort=False):
            sums = of_source.groupby(["trial", "document"], sort=False)[["amount", "units"]].sum()
            totals = sums.groupby("trial").transform("sum")
            share = (sums["amount"] - sums["units"] * totals["amount"] / totals["units"]) / totals["units"]
            table = share.unstack("document").reindex(trials)
            by_metric.setdefault(str(metric), {})[str(source)] = table
        return by_metric
