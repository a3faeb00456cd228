"""Bits per byte of held-out passages.

`bpb_full`: every arm reads left to right. `bpb_continuation`: the second half of each passage after the first, which
each arm reads in its own way: as a bidirectional span where it was trained on them and honours them, else left to
right. `bpb_full_unigram` is what a model without any context reaches.
"""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ablate.config.fields import Count
from ablate.evaluation.held_out import HeldOut
from ablate.evaluation.passages import Passage, passages
from ablate.evaluation.reading import Reading
from ablate.evaluation.suite import Row, Scorer, suite
from ablate.evaluation.unigram import unigram_V
from ablate.objectives.prompt import Prompts
from ablate.records.metric import Direction, Metric

if TYPE_CHECKING:
    from ablate.evaluation.scoring import ModelReader

UNIT, SMALLEST_EFFECT = "bits per byte", 0.02

METRICS = (
    Metric(
        "bpb_full",
        "bits per byte of whole held-out passages, which every arm reads left to right, token by token: what a causal "
        "model is trained for.",
        UNIT,
        Direction.MINIMIZE,
        SMALLEST_EFFECT,
    ),
    Metric(
        "bpb_continuation",
        "bits per byte of each passage's second half, given its first half, which each arm reads in its own way (a "
        "prefix model sees it in both directions): the fair one for arms trained on prefixes.",
        UNIT,
        Direction.MINIMIZE,
        SMALLEST_EFFECT,
    ),
    Metric(
        "bpb_full_unigram",
        "bits per byte of whole held-out passages under the token frequencies of the training mixture.",
        UNIT,
        Direction.MINIMIZE,
        SMALLEST_EFFECT,
        is_reference=True,
    ),
)


@suite(code_version=2, metrics=METRICS)
def bits_per_byte(
    held_out: HeldOut,
    *,
    passage_bytes: Annotated[int, Field(ge=2)],
    passages_per_document: Count,
    documents_per_source: Count,
) -> Scorer:
    """Score the first passages of the first documents of each source."""
    chosen = passages(
        held_out,
        passage_bytes=passage_bytes,
        passages_per_document=passages_per_document,
        documents_per_source=documents_per_source,
    )

    def rows(reader: "ModelReader") -> Iterator[Row]:
        yield from passage_rows(reader, chosen, held_out.prompts)
        if held_out.split == "test":
            yield from unigram_rows(chosen, unigram_V(held_out))

    return rows


def passage_rows(reader: "ModelReader", chosen: Sequence[Passage], prompts: Prompts) -> Iterator[Row]:
    """Bits and bytes of each passage, whole and continued."""

    def bits(readings: Sequence[Reading]) -> list[NDArray[np.float64]]:
        return [score.nll_S / math.log(2) for score in reader.score(readings)]

    start = prompts.start()
    full = bits([Reading(start, np.concatenate([passage.first_T, passage.second_T])) for passage in chosen])
    if prompts.reads_in_order and not prompts.reads_bidirectional_spans:
        own = [bits_S[len(passage.first_T) :] for passage, bits_S in zip(chosen, full, strict=True)]
    else:
        own = bits([Reading(prompts.continuation(passage.first_T), passage.second_T) for passage in chosen])
    for passage, bits_S in zip(chosen, full, strict=True):
        total_bytes = passage.first_bytes + passage.second_bytes
        yield Row("bpb_full", passage.source, passage.document, float(bits_S.sum()), total_bytes)
    for passage, bits_S in zip(chosen, own, strict=True):
        yield Row("bpb_continuation", passage.source, passage.document, float(bits_S.sum()), passage.second_bytes)


def unigram_rows(chosen: Sequence[Passage], probability_V: NDArray[np.float64]) -> Iterator[Row]:
    """Bits and bytes of each passage under a model without context."""
    for passage in chosen:
        bits = -np.log2(probability_V[np.concatenate([passage.first_T, passage.second_T])]).sum()
        total_bytes = passage.first_bytes + passage.second_bytes
        yield Row("bpb_full_unigram", passage.source, passage.document, float(bits), total_bytes)
