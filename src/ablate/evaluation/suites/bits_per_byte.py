"""Bits per byte of passages.

`bpb_full`: every arm reads left to right. `bpb_continuation`: the second half of each passage after the first, which
each arm reads in its own way: as a region where it was trained on regions and honours them, else left to right.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.evaluation.passages import Passage
from ablate.evaluation.reading import Reading, score_readings
from ablate.evaluation.table import Row, table
from ablate.model.build import Model
from ablate.objectives.prompt import Prompts


def score(
    model: Model, passages: Sequence[Passage], prompts: Prompts, *, context_tokens: int, rows_per_batch: int
) -> pd.DataFrame:
    """Bits (`amount`) and bytes (`units`) of each document, under each metric; see `table`.

    Args:
        model: in evaluation mode, under the precision it was trained in.
        passages: what to score.
        prompts: how this arm is asked.
        context_tokens: that the model reads at once; longer passages are read in overlapping views.
        rows_per_batch: views at once.
    """

    def bits(readings: Sequence[Reading]) -> list[NDArray[np.float64]]:
        scores = score_readings(model, readings, context_tokens=context_tokens, rows_per_batch=rows_per_batch)
        return [score.nll_S / math.log(2) for score in scores]

    start = prompts.start()
    full = bits([Reading(start, np.concatenate([passage.first_T, passage.second_T])) for passage in passages])
    if prompts.reads_in_order and not prompts.reads_regions:
        own = [bits_S[len(passage.first_T) :] for passage, bits_S in zip(passages, full, strict=True)]
    else:
        own = bits([Reading(prompts.continuation(passage.first_T), passage.second_T) for passage in passages])
    return table(_rows(passages, full, own))


def _rows(
    passages: Sequence[Passage], full: Sequence[NDArray[np.float64]], own: Sequence[NDArray[np.float64]]
) -> Iterator[Row]:
    for passage, bits_S in zip(passages, full, strict=True):
        total_bytes = passage.first_bytes + passage.second_bytes
        yield Row("bpb_full", passage.source, passage.document, float(bits_S.sum()), total_bytes)
    for passage, bits_S in zip(passages, own, strict=True):
        yield Row("bpb_continuation", passage.source, passage.document, float(bits_S.sum()), passage.second_bytes)


def unigram_rows(passages: Sequence[Passage], probability_V: NDArray[np.float64]) -> pd.DataFrame:
    """`bpb_full_unigram`: what a model without any context reaches."""
    return table(
        Row(
            "bpb_full_unigram",
            passage.source,
            passage.document,
            float(-np.log2(probability_V[np.concatenate([passage.first_T, passage.second_T])]).sum()),
            passage.first_bytes + passage.second_bytes,
        )
        for passage in passages
    )
