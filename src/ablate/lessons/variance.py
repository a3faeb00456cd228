"""Where a contrast's variance comes from: seeds, held-out documents, and their interaction.

All seeds are scored on the same documents, so a contrast's scores are a crossed seeds × documents table. Variance over
seeds holds the interaction, and documents add what they share over all seeds. (Searle et al. 1992, section 4.3.)
Shapes: `S` seeds, `D` documents of one source.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ablate.lessons.critical_values import Floats


@dataclass(frozen=True)
class VarianceComponents:
    """The variance of an estimate by its cause, in the metric's unit squared.

    Attributes:
        document_degrees: degrees of freedom of the component of documents.
    """

    seed: float
    document: float
    seed_by_document: float
    document_degrees: float

    @property
    def total(self) -> float:
        """The variance with other seeds and other documents."""
        return self.seed + self.document + self.seed_by_document

    @property
    def of_seeds(self) -> float:
        """The variance with other seeds on the same documents."""
        return self.seed + self.seed_by_document


def variance_components(values_S: Floats, contributions: Mapping[str, Floats]) -> VarianceComponents:
    """Estimate the components of the mean over seeds.

    Args:
        values_S: the contrast's value under each seed.
        contributions: source → contributions of documents `[S, D]`, with at least two of both (`documents.py`).
    """
    document = interaction = 0.0
    of_sources = []
    for of_source_SD in contributions.values():
        seeds, documents = of_source_SD.shape
        corrected = documents / (documents - 1)
        observed = corrected * float((of_source_SD.mean(axis=0) ** 2).sum())
        by_chance = corrected * float(of_source_SD.var(axis=0, ddof=1).sum()) / seeds
        document += observed - by_chance
        interaction += by_chance
        of_sources.append((observed, documents - 1))
    squares = sum(observed**2 / degrees for observed, degrees in of_sources)
    # Satterthwaite's degrees of freedom of a sum of variances.
    degrees = sum(observed for observed, _ in of_sources) ** 2 / squares if squares else 1.0
    of_seeds = float(values_S.var(ddof=1)) / len(values_S)
    # Seeds may vary less than the interaction alone predicts; the seed component is then 0.
    seed, seed_by_document = max(0.0, of_seeds - interaction), min(interaction, of_seeds)
    return VarianceComponents(seed, max(0.0, document), seed_by_document, degrees)
