"""Token-by-token scores of a model.

Shapes: `B` views, `T` positions, padded to the longest of a batch; `N` scored positions of a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ablate.data.batches.batch import Batch
from ablate.evaluation.reading import Reading, TokenScores, View, views
from ablate.evaluation.suite_run import SuiteRun
from ablate.model.build import Model
from ablate.ranks import ALONE, Ranks

# Nll and whether it is the first choice, of each scored position of a batch.
BatchScores = tuple[NDArray[np.float32], NDArray[np.bool_]]


@dataclass(frozen=True)
class ModelReader:
    """A model that reads and scores text.

    Several ranks each read every n-th batch. A batch is the same at any number of ranks, and so are its scores.

    Attributes:
        model: in evaluation mode, under the precision it was trained in.
        context_tokens: that it reads at once; longer readings are read in overlapping views.
        rows_per_batch: views at once.
        ranks: those that share the reading.
        run: where the suite that uses it keeps its work.
    """

    model: Model
    context_tokens: int
    rows_per_batch: int
    ranks: Ranks = ALONE
    run: SuiteRun = field(default_factory=SuiteRun)

    def score(self, readings: Sequence[Reading]) -> list[TokenScores]:
        """The scores of each reading, in their order."""
        scores = [
            TokenScores(np.empty(len(reading.scored_S)), np.empty(len(reading.scored_S), bool)) for reading in readings
        ]
        chosen = [
            view
            for index, reading in enumerate(readings)
            for view in views(index, len(reading.tokens_T), len(reading.prompt.tokens_T), self.context_tokens)
        ]
        # Views of like length share a batch, so that little is padded.
        chosen.sort(key=lambda view: view.end - view.start)
        batches = [chosen[first : first + self.rows_per_batch] for first in range(0, len(chosen), self.rows_per_batch)]
        for batch, batch_scores in zip(batches, self._scored(readings, batches), strict=True):
            _distribute(readings, batch, batch_scores, scores)
        return scores

    def _scored(self, readings: Sequence[Reading], batches: Sequence[Sequence[View]]) -> list[BatchScores]:
        """Return the scores of all batches, on every rank."""
        own = []
        for first in range(0, len(batches), self.ranks.rank.count):
            # Ranks gather a sharded model together: where batches run out, the last one is read once more.
            index = min(first + self.ranks.rank.number, len(batches) - 1)
            own.append(_score_batch(self.model, readings, batches[index]))
        of_ranks = self.ranks.gather(own)
        return [
            of_ranks[index % self.ranks.rank.count][index // self.ranks.rank.count] for index in range(len(batches))
        ]


def _score_batch(model: Model, readings: Sequence[Reading], chosen: Sequence[View]) -> BatchScores:
    """Return the scores of a batch, row by row."""
    shape = (len(chosen), max(view.end - view.start for view in chosen) - 1)
    ids, targets, documents, spans = (np.zeros(shape, np.int32) for _ in range(4))
    is_scored = np.zeros(shape, np.float32)
    for row, view in enumerate(chosen):
        reading, length = readings[view.reading], view.end - view.start - 1
        tokens_T = reading.tokens_T[view.start : view.end]
        ids[row, :length], targets[row, :length] = tokens_T[:-1], tokens_T[1:]
        documents[row, :length] = 1
        spans[row, : max(0, reading.prompt.bidirectional_tokens - view.start)] = 1
        is_scored[row, view.scored_from - view.start - 1 : length] = 1
    positions = np.broadcast_to(np.arange(shape[1], dtype=np.int32), shape).copy()
    unused_B = np.zeros(len(chosen), np.int32)
    batch = Batch(ids, targets, is_scored, documents, positions, spans, unused_B, unused_B)
    nll_N, is_first_choice_N = (tensor.cpu().numpy() for tensor in model.score(batch))
    return nll_N, is_first_choice_N


def _distribute(
    readings: Sequence[Reading], chosen: Sequence[View], batch_scores: BatchScores, scores: list[TokenScores]
) -> None:
    """Write a batch's scores where its readings have them."""
    nll_N, is_first_choice_N = batch_scores
    for view in chosen:
        skipped = len(readings[view.reading].prompt.tokens_T)
        place = slice(view.scored_from - skipped, view.end - skipped)
        count = view.end - view.scored_from
        scores[view.reading].nll_S[place], nll_N = nll_N[:count], nll_N[count:]
        scores[view.reading].is_first_choice_S[place], is_first_choice_N = (
            is_first_choice_N[:count],
            is_first_choice_N[count:],
        )
