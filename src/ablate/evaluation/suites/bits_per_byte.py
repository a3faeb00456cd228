"""Bits per byte of held-out passages.

`bpb_full`: every arm reads left to right. `bpb_continuation`: the second half of each passage after the first, which
each arm reads in its own way: as a bidirectional span where it was trained on them and honours them, else left to
right. `bpb_full_unigram` is what a model without any context reaches.
"""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ablate.config.fields import Count
from ablate.config.trial import TrialConfig
from ablate.evaluation.amount import affordable
from ablate.evaluation.held_out import HeldOut
from ablate.evaluation.overlap import rows_with_clean, with_clean
from ablate.evaluation.passages import Passage, passages
from ablate.evaluation.reading import Reading
from ablate.evaluation.suite import Row, Scorer, suite
from ablate.evaluation.unigram import unigram_V
from ablate.identity import corpus_content
from ablate.objectives.prompt import Prompts
from ablate.records.metric import Direction, Metric

if TYPE_CHECKING:
    from ablate.evaluation.scoring import ModelReader

UNIT, SMALLEST_EFFECT = "bits per byte", 0.02

COMPARED = (
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
)
METRICS = (
    *with_clean(COMPARED),
    Metric(
        "bpb_full_unigram",
        "bits per byte of whole held-out passages under the token frequencies of the training mixture.",
        UNIT,
        Direction.MINIMIZE,
        SMALLEST_EFFECT,
        is_reference=True,
    ),
    Metric(
        "train_overlap",
        "fraction of the passages' 13-grams of words that also occur in the training text.",
        "fraction of 13-grams",
        Direction.MINIMIZE,
        SMALLEST_EFFECT,
        is_reference=True,
    ),
)
# A passage of so many bytes per token of the window rarely needs more than one window.
BYTES_PER_TOKEN = 2.5


def passage_length(trial: TrialConfig, passage_bytes: int | None) -> int:
    """Return the bytes of a passage: as configured, or what fits into the trial's window."""
    return passage_bytes or max(2, int(BYTES_PER_TOKEN * trial.scale.window_tokens))


def passage_count(trial: TrialConfig, passages_per_source: int | None) -> int:
    """Return the passages of each source: as configured, or as many as a tenth of the training's time reads."""
    # Each is read twice: left to right, and in the arm's own way.
    return passages_per_source or affordable(trial, 2 * trial.scale.window_tokens)


def _data(trial: TrialConfig) -> Any:
    """Return what identifies the passages: the corpus, and what the configuration leaves to the window and budget."""
    options = trial.evaluation.suites["bits_per_byte"]
    length, count = options.get("passage_bytes"), options.get("passages_per_source")
    return [
        corpus_content(trial),
        None if length else passage_length(trial, None),
        None if count else passage_count(trial, None),
    ]


@suite(code_version=3, metrics=METRICS, data=_data)
def bits_per_byte(
    held_out: HeldOut, *, passage_bytes: Annotated[int, Field(ge=2)] | None, passages_per_source: Count | None
) -> Scorer:
    """Score passages of each source, at offsets drawn from the hash of their document.

    Args:
        held_out: the split.
        passage_bytes: the length of a passage; null: what fits into the trial's window.
        passages_per_source: how many, of each scored source; null: what a tenth of the training's time reads.
    """
    length, count = passage_length(held_out.trial, passage_bytes), passage_count(held_out.trial, passages_per_source)
    chosen = passages(held_out, passage_bytes=length, passages_per_source=count)

    def rows(reader: "ModelReader") -> Iterator[Row]:
        yield from passage_rows(reader, chosen, held_out.prompts)
        if held_out.split == "test":
            yield from unigram_rows(chosen, unigram_V(held_out))
            yield from overlap_rows(chosen)

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
        row = Row("bpb_full", passage.source, passage.document, float(bits_S.sum()), total_bytes)
        yield from rows_with_clean(row, passage.overlap)
    for passage, bits_S in zip(chosen, own, strict=True):
        row = Row("bpb_continuation", passage.source, passage.document, float(bits_S.sum()), passage.second_bytes)
        yield from rows_with_clean(row, passage.overlap)


def unigram_rows(chosen: Sequence[Passage], probability_V: NDArray[np.float64]) -> Iterator[Row]:
    """Bits and bytes of each passage under a model without context."""
    for passage in chosen:
        bits = -np.log2(probability_V[np.concatenate([passage.first_T, passage.second_T])]).sum()
        total_bytes = passage.first_bytes + passage.second_bytes
        yield Row("bpb_full_unigram", passage.source, passage.document, float(bits), total_bytes)


def overlap_rows(chosen: Sequence[Passage]) -> Iterator[Row]:
    """Yield each passage's 13-grams that also occur in the training text, and all of its 13-grams."""
    for passage in chosen:
        if passage.overlap is not None and passage.overlap[1]:
            seen, grams = passage.overlap
            yield Row("train_overlap", passage.source, passage.document, seen, grams)
