"""The batch contract, and how examples are packed into a batch.

Shapes: `B` rows, `T` positions: those of the longest row, at most `scale.context_tokens`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablate.config.trial import TrialConfig
from ablate.objectives.example import Example
from ablate.objectives.objective import Objective

# Half the size of torch's integers: loader workers send batches to the trainer.
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Batch:
    """Rows as the model reads them.

    `loss_weight_BT[b, i]` is above 0 only where i's target, at i + 1, lies in i's segment and i does not attend to it.

    Attributes:
        input_ids_BT: token at each position.
        targets_BT: the next token; 0 where `loss_weight_BT` is 0.
        loss_weight_BT: 1 where the target has loss, else 0.
        document_BT: document segment from 1 on; 0 = padding, only at the end of a row.
        position_BT: rotary position.
        span_BT: bidirectional span, 0 = none; an interval of one document.
        task_B: index of the row's task.
        source_B: index of the row's source.

    >>> example = Example.concatenate([
    ...     Example.from_segment(np.array([7, 8, 9], np.int32), bidirectional_tokens=2, loss_from=2),
    ...     Example.from_segment(np.array([7, 5], np.int32)),
    ... ])
    >>> batch, truncated_tokens = pack([example], tasks=[0], sources=[1], context_tokens=6)
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
        """Return the rows first … last − 1."""
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
    """Pack one example per row, truncated to `context_tokens`.

    Args:
        examples: one per row.
        tasks: index of each row's task.
        sources: index of each row's source.
        context_tokens: longest row allowed.
        document_mask: false merges the documents of a row into one segment, as GPT-J's packing does.
        restart_positions: whether positions restart at each document.

    Returns:
        The batch, and how many tokens were truncated.
    """
    longest = min(context_tokens, max(map(len, examples)))
    # Positions that are padding in every row are not computed.
    shape = (len(examples), _padded(longest, context_tokens))
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


def longest_row(trial: TrialConfig) -> int:
    """Return how many positions a trial's longest row has."""
    scale = trial.scale
    adds_tokens = Objective.of(trial).adds_tokens
    return scale.context_tokens if adds_tokens else _padded(scale.window_tokens, scale.context_tokens)


def _padded(tokens: int, context_tokens: int) -> int:
    """Round up to a multiple of 8, which fills vector registers."""
    return min(context_tokens, -(-tokens // 8) * 8)


def full_batch(trial: TrialConfig, rows: int, length: int) -> Batch:
    """Return rows of so many tokens, of one segment with loss everywhere.

    An encoder reads prefixes of evenly spaced lengths, because slots of a batch follow from its longest prefix and its
    longest rest: of one row the first half, of three a quarter, a half and three quarters.
    """
    zeros = np.zeros((rows, length), np.int32)
    ones, index = zeros + 1, zeros[:, 0]
    span = zeros
    if trial.architecture.has_encoder:
        prefix_B = np.arange(1, rows + 1) * length // (rows + 1)
        span = (np.arange(length) < prefix_B[:, None]).astype(np.int32)
    return Batch(zeros, zeros, ones.astype(np.float32), ones, ones.cumsum(1, dtype=np.int32) - 1, span, index, index)
