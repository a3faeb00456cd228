"""The batch contract, and how examples become one.

Shapes: `B` rows, `T` positions: as many as the longest row needs, at most `scale.context_tokens`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablate.config.trial import ArchitectureConfig
from ablate.objectives.example import Example

# Half of what torch computes with: a loader's worker sends them.
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Batch:
    """Rows as the model reads them.

    `loss_weight_BT[b, i]` is above 0 only where i's target, at i + 1, lies in i's segment and i does not attend to it.

    Attributes:
        input_ids_BT: token at each position.
        targets_BT: the next token; 0 where `loss_weight_BT` is 0.
        loss_weight_BT: 1 where the target has loss, else 0.
        document_BT: attention segment, 0 = padding, which stands only at the end of a row.
        position_BT: rotary position.
        span_BT: bidirectional span, 0 = none; an interval of one document.
        task_B: index of the row's task.
        source_B: index of the row's source.

    >>> example = Example.concatenate([
    ...     Example.from_segment(np.array([7, 8, 9], np.int32), bidirectional_tokens=2, loss_from=2),
    ...     Example.from_segment(np.array([7, 5], np.int32)),
    ... ])
    >>> batch, cut = pack([example], tasks=[0], sources=[1], context_tokens=6)
    >>> batch.input_ids_BT.tolist(), batch.targets_BT.tolist()
    ([[7, 8, 9, 7, 5, 0]], [[0, 9, 0, 5, 0, 0]])
    >>> batch.loss_weight_BT.tolist()
    [[0.0, 1.0, 0.0, 1.0, 0.0, 0.0]]
    >>> batch.document_BT.tolist(), batch.span_BT.tolist()
    ([[1, 1, 1, 2, 2, 0]], [[1, 1, 0, 0, 0, 0]])
    >>> batch.position_BT.tolist()
    [[0, 1, 2, 0, 1, 0]]
    """

    input_ids_BT: Ints
    targets_BT: Ints
    loss_weight_BT: NDArray[np.float32]
    document_BT: Ints
    position_BT: Ints
    span_BT: Ints
    task_B: Ints
    source_B: Ints

    def rows(self, first: int, last: int) -> "Batch":
        """Rows first … last − 1."""
        return Batch(**{name: value[first:last] for name, value in vars(self).items()})


def pack(
    examples: Sequence[Example],
    *,
    tasks: Sequence[int],
    sources: Sequence[int],
    context_tokens: int,
    document_mask: bool = True,
    restart_positions: bool = True,
) -> tuple[Batch, int]:
    """One example per row, cut at `context_tokens`.

    Args:
        examples: the rows.
        tasks: index of each row's task.
        sources: index of each row's source.
        context_tokens: the most that a row may have.
        document_mask: false merges the documents of a row into one segment, as GPT-J's packing does.
        restart_positions: whether positions restart at each document.

    Returns:
        The batch, and how many tokens were cut.
    """
    longest = min(context_tokens, max(map(len, examples)))
    # Whole vector registers; what is padding in every row is not computed.
    shape = (len(examples), min(context_tokens, -(-longest // 8) * 8))
    ids_BT, documents_BT, positions_BT, spans_BT = (np.zeros(shape, np.int32) for _ in range(4))
    has_loss_BT = np.zeros(shape, bool)
    index_T = np.arange(shape[1])
    for row, example in enumerate(examples):
        length = min(len(example), context_tokens)
        ids_BT[row, :length] = example.tokens_T[:length]
        has_loss_BT[row, : length - 1] = example.loss_T[1:length]
        positions_BT[row, :length] = index_T[:length]
        documents_BT[row, :length] = 1
        start = 0
        for number, tokens in enumerate(example.document_tokens, start=1):
            end = min(start + tokens, length)
            if number > 1 and document_mask:
                documents_BT[row, start:end] = number
                has_loss_BT[row, start - 1] = False
            if number > 1 and restart_positions:
                positions_BT[row, start:end] = index_T[: end - start]
            start = end
        for number, (first, last) in enumerate(example.spans, start=1):
            spans_BT[row, first : min(last, length)] = number
            # Tokens of a span attend to the next one, so it has no loss.
            has_loss_BT[row, first : last - 1] = False
    targets_BT = np.zeros(shape, np.int32)
    np.copyto(targets_BT[:, :-1], ids_BT[:, 1:], where=has_loss_BT[:, :-1])
    weights_BT = has_loss_BT.astype(np.float32)
    truncated_tokens = sum(max(0, len(example) - context_tokens) for example in examples)
    places = np.array(tasks, np.int32), np.array(sources, np.int32)
    return Batch(ids_BT, targets_BT, weights_BT, documents_BT, positions_BT, spans_BT, *places), truncated_tokens


@dataclass(frozen=True)
class ComputeCounts:
    """What a model of some architecture computes for a batch, padding aside: what its cost is counted by.

    A pair is a query and a key that it attends to. A decoder has no encoder tokens or pairs.
    """

    encoder_tokens: int = 0
    decoder_tokens: int = 0
    loss_tokens: int = 0
    encoder_pairs: int = 0
    decoder_pairs: int = 0
    cross_pairs: int = 0

    def __add__(self, other: "ComputeCounts") -> "ComputeCounts":
        """Both together."""
        return ComputeCounts(**{name: value + getattr(other, name) for name, value in vars(self).items()})


def compute_counts(batch: Batch, architecture: ArchitectureConfig) -> ComputeCounts:
    """Count what an architecture computes for a batch.

    The decoder of an encoder-decoder also reads the last token of each span, and its tokens attend to all encoder
    tokens of their segment that are not later.
    """
    rows = zip(batch.document_BT, batch.span_BT, batch.loss_weight_BT, strict=True)
    return sum((_row_counts(document, span, weight, architecture) for document, span, weight in rows), ComputeCounts())


def _row_counts(
    document_T: Ints, span_T: Ints, weight_T: NDArray[np.float32], architecture: ArchitectureConfig
) -> ComputeCounts:
    span_lengths = np.bincount(span_T[document_T > 0], minlength=1)[1:]
    loss_tokens = int((weight_T > 0).sum())
    if not architecture.has_encoder:
        pairs = _triangle(np.bincount(document_T, minlength=1)[1:])
        if architecture.honours_bidirectional_spans:
            pairs += int((span_lengths * (span_lengths - 1) // 2).sum())
        return ComputeCounts(decoder_tokens=int((document_T > 0).sum()), loss_tokens=loss_tokens, decoder_pairs=pairs)
    encoded_T = (span_T > 0) & (document_T > 0)
    decoded_T = (document_T > 0) & (~encoded_T | (span_T != np.append(span_T[1:], 0)))
    cross_pairs = 0
    for segment in np.unique(document_T[decoded_T]):
        inside_T = document_T == segment
        cross_pairs += int(np.cumsum(encoded_T & inside_T)[decoded_T & inside_T].sum())
    return ComputeCounts(
        encoder_tokens=int(encoded_T.sum()),
        decoder_tokens=int(decoded_T.sum()),
        loss_tokens=loss_tokens,
        encoder_pairs=int((span_lengths**2).sum()),
        decoder_pairs=_triangle(np.bincount(document_T[decoded_T], minlength=1)[1:]),
        cross_pairs=cross_pairs,
    )


def _triangle(lengths: NDArray[np.int64]) -> int:
    """Pairs (i, j ≤ i) within runs of these lengths."""
    return int((lengths * (lengths + 1) // 2).sum())
