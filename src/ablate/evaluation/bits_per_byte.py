"""Bits per byte of passages.

`bpb_full`: every arm reads left to right. `bpb_continuation`: the second half of each passage after the first, which
each arm reads in its own way: as a region where it was trained on regions and honours them, else left to right.

Shapes: `B` passages, `T` positions, padded to the longest of a batch.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ablate.evaluation.passages import Passage
from ablate.model.decoder import Decoder
from ablate.model.loss import nll_per_position

METRICS = ("bpb_full", "bpb_continuation")


def score(
    model: Decoder,
    passages: Sequence[Passage],
    *,
    end_of_text: int,
    reads_regions: bool,
    context_tokens: int,
    rows_per_batch: int,
) -> pd.DataFrame:
    """Bits and bytes of each document, under each metric.

    Args:
        model: in evaluation mode, under the precision it was trained in.
        passages: what to score.
        end_of_text: the token that opens a document.
        reads_regions: whether this arm reads the first half as a region.
        context_tokens: that the model reads at once; longer passages are read in overlapping views.
        rows_per_batch: views at once.

    Returns:
        Columns metric, source, document, bits, bytes; one row per metric and document.
    """

    def bits(first_half_is_region: bool) -> list[NDArray[np.float64]]:
        nll = _nll(model, passages, end_of_text, first_half_is_region, context_tokens, rows_per_batch)
        return [nll_T / math.log(2) for nll_T in nll]

    bits_full = bits(first_half_is_region=False)
    bits_own = bits(first_half_is_region=True) if reads_regions else bits_full
    rows = [
        ("bpb_full", passage.source, passage.document, bits_T.sum(), passage.first_bytes + passage.second_bytes)
        for passage, bits_T in zip(passages, bits_full, strict=True)
    ]
    rows += [
        (
            "bpb_continuation",
            passage.source,
            passage.document,
            bits_T[len(passage.first_T) :].sum(),
            passage.second_bytes,
        )
        for passage, bits_T in zip(passages, bits_own, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["metric", "source", "document", "bits", "bytes"])
    return table.groupby(["metric", "source", "document"], as_index=False, sort=False)[["bits", "bytes"]].sum()


def summary(documents: pd.DataFrame) -> dict[str, float]:
    """`metric/source` in bits per byte over all bytes of the source, and `metric`, the mean over sources.

    Sources weigh the same however long their documents are; no trial sees another weighting.
    """
    sums = documents.groupby(["metric", "source"], sort=False, as_index=False)[["bits", "bytes"]].sum()
    sums["bpb"] = sums["bits"] / sums["bytes"]
    found = {f"{row.metric}/{row.source}": float(row.bpb) for row in sums.itertuples()}  # type: ignore[arg-type]
    return found | {str(metric): float(value) for metric, value in sums.groupby("metric")["bpb"].mean().items()}


def unigram_bits(passages: Sequence[Passage], probability_V: NDArray[np.float64]) -> float:
    """The mean over sources of a unigram model's bits per byte: what a model without any context reaches."""
    rows = [
        (
            "bpb_full_unigram",
            passage.source,
            passage.document,
            -np.log2(probability_V[np.concatenate([passage.first_T, passage.second_T])]).sum(),
            passage.first_bytes + passage.second_bytes,
        )
        for passage in passages
    ]
    return summary(pd.DataFrame(rows, columns=["metric", "source", "document", "bits", "bytes"]))["bpb_full_unigram"]


@dataclass(frozen=True)
class _View:
    """What the model reads at once of a passage: tokens start … end − 1, of which those from `scored_from` count."""

    passage: int
    start: int
    end: int
    scored_from: int


def _views(passage: int, tokens: int, context_tokens: int) -> Iterator[_View]:
    """One view where the passage fits the context; else each next one keeps half a context of what came before."""
    start = scored = 0
    while scored < tokens:
        end = min(start + context_tokens, tokens)
        yield _View(passage, start, end, scored)
        scored = end
        start = end - context_tokens // 2


@torch.no_grad()
def _nll(
    model: Decoder,
    passages: Sequence[Passage],
    end_of_text: int,
    first_half_is_region: bool,
    context_tokens: int,
    rows_per_batch: int,
) -> list[NDArray[np.float64]]:
    """The nll in nats of each token of each passage, in its order."""
    device = model.head.weight.device
    tokens = [np.concatenate([passage.first_T, passage.second_T]) for passage in passages]
    found = [np.empty(len(tokens_T)) for tokens_T in tokens]
    views = [view for index, tokens_T in enumerate(tokens) for view in _views(index, len(tokens_T), context_tokens)]
    # Views of like length share a batch, so that little is padded.
    views.sort(key=lambda view: view.end - view.start)
    for first in range(0, len(views), rows_per_batch):
        chosen = views[first : first + rows_per_batch]
        shape = (len(chosen), max(view.end - view.start for view in chosen))
        ids, targets, documents, regions = (np.zeros(shape, np.int64) for _ in range(4))
        for row, view in enumerate(chosen):
            length = view.end - view.start
            read_T = np.concatenate([[end_of_text], tokens[view.passage]])
            ids[row, :length] = read_T[view.start : view.end]
            targets[row, :length] = read_T[view.start + 1 : view.end + 1]
            documents[row, :length] = 1
            if first_half_is_region:
                # `<|endoftext|>` and the first half.
                regions[row, : max(0, 1 + len(passages[view.passage].first_T) - view.start)] = 1
        positions = np.broadcast_to(np.arange(shape[1]), shape).copy()
        inputs = (torch.from_numpy(part).to(device) for part in (ids, documents, positions, regions))
        hidden_BTC = model(*inputs)
        target_BT = torch.from_numpy(targets).to(device)
        nll_BT = nll_per_position(hidden_BTC.flatten(0, 1), model.head, target_BT.flatten()).reshape(shape)
        for row, view in enumerate(chosen):
            own = nll_BT[row, view.scored_from - view.start : view.end - view.start]
            found[view.passage][view.scored_from : view.end] = own.double().cpu().numpy()
    return found
