"""The noise that finished grids have shown on a metric, at the scale that is nearest to a planned one.

Shapes: `A` arms, `S` seeds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import log2, sqrt
from statistics import median

import numpy as np

from ablate.lessons.critical_values import Floats
from ablate.lessons.documents import Documents
from ablate.lessons.grid_results import GridResults
from ablate.lessons.noise import SeenNoise
from ablate.lessons.variance import variance_components
from ablate.records.grid import GridRecord
from ablate.records.logs import Logs

# Trials count as one scale where parameters, or tokens, differ by less than this factor.
SAME_SCALE = 1.1


@dataclass(frozen=True)
class _GridNoise:
    """One grid's noise.

    Attributes:
        squares: sum of the squared residuals of the arms × seeds table.
    """

    results: GridResults
    squares: float
    degrees: int
    parameters: float
    train_tokens: float


def seen_noise(
    logs: Logs, grids: Iterable[GridRecord], metric: str, *, parameters: float, train_tokens: float
) -> SeenNoise | None:
    """Return the noise of the grids whose scale is nearest; None where no grid has two arms and two seeds.

    Args:
        logs: of the grids' trials.
        grids: the newest first.
        metric: its name.
        parameters: of the planned trials; the nearest number counts first.
        train_tokens: of a planned trial; counts among grids of the same number of parameters.
    """

    def distance(noise: _GridNoise) -> tuple[float, float]:
        return _steps(noise.parameters / parameters), _steps(noise.train_tokens / train_tokens)

    known = list(_noises(logs, grids, metric))
    if not known:
        return None
    nearest = min(map(distance, known))
    chosen = [noise for noise in known if distance(noise) == nearest]
    degrees = sum(noise.degrees for noise in chosen)
    document_error, document_degrees = next(
        filter(None, (_documents(noise.results, metric) for noise in chosen)), (0.0, 1.0)
    )
    return SeenNoise(
        deviation=sqrt(sum(noise.squares for noise in chosen) / degrees),
        degrees=degrees,
        document_error=document_error,
        document_degrees=document_degrees,
        parameters=round(median(noise.parameters for noise in chosen)),
        train_tokens=round(median(noise.train_tokens for noise in chosen)),
        grids=len(chosen),
        is_same_scale=nearest == (0, 0),
    )


def _steps(ratio: float) -> float:
    """Return how many factors of `SAME_SCALE` a ratio is from 1, rounded down."""
    return float(abs(log2(ratio)) // log2(SAME_SCALE))


def _noises(logs: Logs, grids: Iterable[GridRecord], metric: str) -> Iterator[_GridNoise]:
    """Yield the noise of each grid that has some, leaving out grids whose trials an earlier one had."""
    counted: set[str] = set()
    for grid in grids:
        results = GridResults(logs, grid)
        if set(results.records) <= counted:
            continue
        values_AS = np.unique(results.values(metric).dropna(axis="columns").to_numpy(float), axis=0)
        finished = [record.result for record in results.records.values() if record.result is not None]
        if not finished or min(values_AS.shape) < 2 or not np.isfinite(values_AS).all():
            continue
        squares = _residual_squares(values_AS)
        if squares > 0:
            counted |= set(results.records)
            arms, seeds = values_AS.shape
            yield _GridNoise(
                results,
                squares,
                (arms - 1) * (seeds - 1),
                median(result.parameters for result in finished),
                median(result.counters.train_tokens for result in finished),
            )


def _residual_squares(values_AS: Floats) -> float:
    centred_AS = values_AS - values_AS.mean(axis=1, keepdims=True)
    return float(((centred_AS - centred_AS.mean(axis=0)) ** 2).sum())


def _documents(results: GridResults, metric: str) -> tuple[float, float] | None:
    """Return the largest standard error that other documents add to a contrast, and its degrees of freedom."""
    contrasts = {contrast.name: replace(contrast, metric=metric) for contrast in results.contrasts}
    deviations = []
    for name, contributions in Documents(results).contributions(list(contrasts.values())).items():
        values = results.paired_values(contrasts[name])
        of_seeds_S = np.array(list(contrasts[name].weights.values())) @ values.to_numpy(float)
        variance = variance_components(of_seeds_S, contributions)
        deviations.append((sqrt(variance.document), variance.document_degrees))
    return max(deviations, default=None)
