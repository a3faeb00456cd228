"""What a model makes of text, token by token.

Shapes: `B` readings, `T` positions, padded to the longest of a batch; `S` scored tokens of one reading.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ablate.model.build import Model
from ablate.model.loss import nll_and_hits
from ablate.objectives.example import Tokens
from ablate.objectives.prompt import Prompt


@dataclass(frozen=True)
class Reading:
    """A prompt, and the tokens after it, each of which is scored."""

    prompt: Prompt
    scored_S: Tokens

    @property
    def tokens_T(self) -> Tokens:
        """All tokens in their order."""
        return np.concatenate([self.prompt.tokens_T, self.scored_S])


@dataclass(frozen=True)
class Scores:
    """Of each scored token its nll in nats, and whether it was the model's first choice."""

    nll_S: NDArray[np.float64]
    is_first_choice_S: NDArray[np.bool_]


@dataclass(frozen=True)
class View:
    """What the model reads at once of a reading: tokens start … end − 1, of which those from `scored_from` count."""

    reading: int
    start: int
    end: int
    scored_from: int


def views(reading: int, tokens: int, scored_from: int, context_tokens: int) -> Iterator[View]:
    """One view where the reading fits the context; else each next one keeps half a context of what came before.

    The last token is only asked for, so one more than the context fits.
    """
    start = 0
    while scored_from < tokens:
        end = min(max(start + context_tokens + 1, scored_from + 1), tokens)
        start = max(start, end - context_tokens - 1)
        yield View(reading, start, end, scored_from)
        scored_from = end
        start = end - context_tokens // 2


@torch.no_grad()
def score_readings(
    model: Model, readings: Sequence[Reading], *, context_tokens: int, rows_per_batch: int
) -> list[Scores]:
    """The scores of each reading, in their order.

    Args:
        model: in evaluation mode, under the precision it was trained in.
        readings: what to read.
        context_tokens: that the model reads at once; longer readings are read in overlapping views.
        rows_per_batch: views at once.
    """
    found = [Scores(np.empty(len(reading.scored_S)), np.empty(len(reading.scored_S), bool)) for reading in readings]
    chosen = [
        view
        for index, reading in enumerate(readings)
        for view in views(index, len(reading.tokens_T), len(reading.prompt.tokens_T), context_tokens)
    ]
    # Views of like length share a batch, so that little is padded.
    chosen.sort(key=lambda view: view.end - view.start)
    for first in range(0, len(chosen), rows_per_batch):
        _score_batch(model, readings, chosen[first : first + rows_per_batch], found)
    return found


def _score_batch(model: Model, readings: Sequence[Reading], chosen: Sequence[View], found: list[Scores]) -> None:
    shape = (len(chosen), max(view.end - view.start for view in chosen) - 1)
    ids, targets, documents, regions = (np.zeros(shape, np.int64) for _ in range(4))
    is_scored = np.zeros(shape, bool)
    for row, view in enumerate(chosen):
        reading, length = readings[view.reading], view.end - view.start - 1
        tokens_T = reading.tokens_T[view.start : view.end]
        ids[row, :length], targets[row, :length] = tokens_T[:-1], tokens_T[1:]
        documents[row, :length] = 1
        regions[row, : max(0, reading.prompt.region_tokens - view.start)] = 1
        is_scored[row, view.scored_from - view.start - 1 : length] = True
    positions = np.broadcast_to(np.arange(shape[1]), shape).copy()
    device = model.head.weight.device
    ids_BT, documents_BT, positions_BT, regions_BT = (
        torch.from_numpy(part).to(device) for part in (ids, documents, positions, regions)
    )
    hidden_BTC = model(ids_BT, documents_BT, positions_BT, regions_BT)
    wanted = torch.from_numpy(is_scored).to(device)
    nll_N, is_first_choice_N = nll_and_hits(
        hidden_BTC[wanted], model.head, torch.from_numpy(targets[is_scored]).to(device)
    )
    nll, hits = nll_N.double().cpu().numpy(), is_first_choice_N.cpu().numpy()
    # Row by row, as the mask picks them.
    for view in chosen:
        skipped = len(readings[view.reading].prompt.tokens_T)
        place = slice(view.scored_from - skipped, view.end - skipped)
        count = view.end - view.scored_from
        found[view.reading].nll_S[place], nll = nll[:count], nll[count:]
        found[view.reading].is_first_choice_S[place], hits = hits[:count], hits[count:]
