"""What a model computes for a batch, which its FLOPs are counted from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablate.config.trial import ArchitectureConfig
from ablate.data.batches.batch import Batch, Ints


@dataclass(frozen=True)
class ComputeCounts:
    """Tokens and attended pairs of query and key, without padding. Decoders have no encoder or cross counts."""

    encoder_tokens: int = 0
    decoder_tokens: int = 0
    loss_tokens: int = 0
    encoder_pairs: int = 0
    decoder_pairs: int = 0
    cross_pairs: int = 0

    def __add__(self, other: "ComputeCounts") -> "ComputeCounts":
        """Add each count."""
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
    """Return the number of pairs (i, j ≤ i) in runs of these lengths."""
    return int((lengths * (lengths + 1) // 2).sum())
