"""Measure how often intervals hold for new seeds and new held-out documents, on the archived trials.

    python bench/documents.py [--draws 2000]

A draw takes documents with replacement from each source, the same ones for all trials, and new seeds. The truth is the
mean over all archived seeds and documents. `seed_noise` has sixty seeds: a draw takes some of them with replacement.
A lesson has five: their scores on the drawn documents are averaged, and seeds are drawn from the normal distribution
with the covariance that the arms show.
Shapes: `A` arms, `S` seeds, `D` documents of one source, `N` grids, `C` contrasts.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.lessons.contrast import Contrast, against_baseline
from ablate.lessons.critical_values import of_degrees
from ablate.lessons.estimate import Estimate, compare
from ablate.lessons.grid_results import GridResults
from ablate.records.archive import Archive
from ablate.reports.paper import newest_by_name

Floats = NDArray[np.float64]
ARCHIVE = Path(__file__).parents[1] / "analysis" / "data"


@dataclass(frozen=True)
class DocumentNoise:
    """Simulated documents of one source, the same for all seeds; in standard deviations of a trial's noise.

    Attributes:
        shared: deviation of an arm's score over sets of documents, the same under all seeds.
        interaction: deviation of a trial's score that each seed and document have of their own.
        documents: their number.
        sigma: of a log-normal distribution of the shared part; 0: normal.
    """

    shared: float
    interaction: float
    documents: int = 100
    sigma: float = 0.0

    def contributions(self, rng: np.random.Generator, shape: tuple[int, int, int]) -> tuple[Floats, Floats]:
        """Draw what the documents add to scores `[N, A, S]`, and the contributions `[N, A, S, D]`."""
        grids, arms, seeds = shape
        shared_NA1D = rng.normal(size=(grids, arms, 1, self.documents))
        if self.sigma:
            mean, square = np.exp(self.sigma**2 / 2), np.exp(self.sigma**2) - 1
            shared_NA1D = (np.exp(self.sigma * shared_NA1D) - mean) / (mean * square**0.5)
        own_NASD = rng.normal(size=(grids, arms, seeds, self.documents))
        scores_NASD = self.documents**0.5 * (self.shared * shared_NA1D + self.interaction * own_NASD)
        added_NAS = scores_NASD.mean(axis=-1)
        return added_NAS, (scores_NASD - added_NAS[..., None]) / self.documents


def document_halves(contributions_NCSD: Floats, known: Sequence[float]) -> list[Floats]:
    """Return, for each critical value, value × standard error of documents, `[N, C]`, as lessons compute it."""
    *_, seeds, documents = contributions_NCSD.shape
    corrected = documents / (documents - 1)
    by_chance_NC = contributions_NCSD.var(axis=2, ddof=1).sum(axis=-1) / seeds
    variance_NC = corrected * ((contributions_NCSD.mean(axis=2) ** 2).sum(axis=-1) - by_chance_NC)
    error_NC = np.sqrt(np.maximum(0.0, variance_NC))
    return [of_degrees(value, documents - 1) * error_NC for value in known]


@dataclass(frozen=True)
class Scored:
    """Documents of one source that all trials of a grid were scored on."""

    amounts_ASD: Floats
    units_D: Floats

    def drawn(self, rng: np.random.Generator) -> "Scored":
        """As many documents, with replacement."""
        chosen_D = rng.integers(len(self.units_D), size=len(self.units_D))
        return Scored(self.amounts_ASD[..., chosen_D], self.units_D[chosen_D])

    @property
    def ratios_AS(self) -> Floats:
        """Amount per unit."""
        ratios_AS: Floats = self.amounts_ASD.sum(axis=-1) / self.units_D.sum()
        return ratios_AS

    @property
    def contributions_ASD(self) -> Floats:
        """Contributions to the ratios."""
        own_ASD = self.amounts_ASD - self.ratios_AS[..., None] * self.units_D
        contributions_ASD: Floats = own_ASD / self.units_D.sum()
        return contributions_ASD


def scored(grids: Sequence[GridResults], metric: str) -> dict[str, Scored]:
    """Return source → the scores of all arms of these grids, arm by arm; arms have the same order of seeds."""
    tables = []
    for arm, trials in enumerate(of_arm.trials for results in grids for of_arm in results.arms):
        for seed, trial in enumerate(trials.values()):
            documents = grids[0].logs.documents(trial, grids[0].grid.suite_ids)
            assert documents is not None
            tables.append(documents[documents["metric"] == metric].assign(arm=arm, seed=seed))
    rows = pd.concat(tables)
    sources = {}
    for source, of_source in rows.groupby("source"):
        table = of_source.pivot_table(index=["arm", "seed"], columns="document", values="amount")
        arms, seeds = (len(level) for level in table.index.levels)  # type: ignore[attr-defined]
        units = of_source.groupby("document")["units"].first().loc[table.columns]
        sources[str(source)] = Scored(table.to_numpy().reshape(arms, seeds, -1), units.to_numpy(float))
    return sources


def estimates(
    sources: Mapping[str, Scored], contrasts: Sequence[Contrast], labels: Sequence[str], seeds: int, draws: int
) -> Iterator[Estimate]:
    """Yield the estimates of draws of seeds and documents."""
    rng = np.random.default_rng(0)
    archived_AS = np.mean([source.ratios_AS for source in sources.values()], axis=0)
    has_many = archived_AS.shape[1] > seeds
    for _ in range(draws):
        drawn = {name: source.drawn(rng) for name, source in sources.items()}
        values_AS = np.mean([source.ratios_AS for source in drawn.values()], axis=0)
        if has_many:
            chosen_S = rng.integers(archived_AS.shape[1], size=seeds)
            values_AS = values_AS[:, chosen_S]
        else:
            chosen_S = np.arange(seeds)
            of_seeds_SA = rng.multivariate_normal(np.zeros(len(labels)), np.cov(archived_AS), size=seeds)
            values_AS = values_AS.mean(axis=1, keepdims=True) + of_seeds_SA.T
        by_source = {name: source.contributions_ASD[:, chosen_S] / len(drawn) for name, source in drawn.items()}
        contributions = {
            contrast.name: {
                name: np.tensordot([contrast.weights.get(label, 0.0) for label in labels], of_source_ASD, axes=1)
                for name, of_source_ASD in by_source.items()
            }
            for contrast in contrasts
        }
        yield compare(pd.DataFrame(values_AS, index=list(labels)), contrasts, 0.95, [seeds], contributions)


def coverage(draws: int) -> Iterator[dict[str, object]]:
    """Yield how many draws have only intervals that hold the truth, by lesson."""
    results = newest_by_name(Archive(ARCHIVE))
    a_a = [grid for name, grid in results.items() if name.startswith("seed_noise")]
    cases = [
        (name, [grid], list(grid.contrasts), [arm.label for arm in grid.arms], [grid.seeds])
        for name, grid in results.items()
        if grid not in a_a
    ]
    pair = list(against_baseline(["init 0", "init 1"], "init 0", a_a[0].primary_metric))
    cases.append(("seed_noise, init 1 − init 0", a_a, pair, ["init 0", "init 1"], [3, 4, 5, 8]))
    for name, grids, contrasts, labels, all_seeds in cases:
        sources = scored(grids, contrasts[0].metric)
        mean_A = np.mean([source.ratios_AS for source in sources.values()], axis=0).mean(axis=1)
        truth = {
            contrast.name: sum(weight * mean_A[labels.index(label)] for label, weight in contrast.weights.items())
            for contrast in contrasts
        }
        for seeds in all_seeds:
            held = {"seeds and documents": 0, "seeds alone": 0}
            for estimate in estimates(sources, contrasts, labels, seeds, draws):
                held["seeds and documents"] += all(
                    each.low is not None
                    and each.high is not None
                    and each.low <= truth[each.contrast.name] <= each.high
                    for each in estimate.comparisons
                )
                held["seeds alone"] += all(
                    each.low_over_seeds is not None
                    and each.high_over_seeds is not None
                    and each.low_over_seeds <= truth[each.contrast.name] <= each.high_over_seeds
                    for each in estimate.comparisons
                )
            yield {"trials of": name, "seeds": seeds} | {kind: f"{of / draws:.1%}" for kind, of in held.items()}


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000, help="draws per row")
    for number, row in enumerate(coverage(parser.parse_args().draws)):
        if number == 0:
            print("| " + " | ".join(row) + " |\n|" + "---|" * len(row))
        print("| " + " | ".join(map(str, row.values())) + " |", flush=True)


if __name__ == "__main__":
    main()
