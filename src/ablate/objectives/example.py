"""The special tokens that transforms write, and `Example`, the row that they produce.

Shapes: `T` tokens of one document segment or row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int32]
MODES = ("R", "S", "X")


@dataclass(frozen=True)
class SpecialTokens:
    """Ids that stand for structure, never for text.

    Attributes:
        end_of_text: opens and closes each document.
        separator: `<sep>` of CodeGen2 (section 3.3).
        end_of_mask: `<eom>` of CodeGen2, which closes every middle.
        prefix: `<pre>` of fill-in-the-middle (Bavarian et al. 2022, section 3).
        suffix: `<suf>`, likewise.
        middle: `<mid>`, likewise.
        modes: the mode tokens of UL2, in the order of `MODES`.
        masks: `<mask_1>`, `<mask_2>`, … of CodeGen2.
    """

    end_of_text: int
    separator: int
    end_of_mask: int
    prefix: int
    suffix: int
    middle: int
    modes: tuple[int, int, int]
    masks: tuple[int, ...]

    @classmethod
    def consecutive(cls, first: int, mask_sentinels: int) -> "SpecialTokens":
        """Number the tokens from `first` on, in the order of the attributes."""
        end_of_text, separator, end_of_mask, prefix, suffix, middle, *modes = range(first, first + 9)
        masks = tuple(range(first + 9, first + 9 + mask_sentinels))
        return cls(end_of_text, separator, end_of_mask, prefix, suffix, middle, (modes[0], modes[1], modes[2]), masks)

    def names(self) -> dict[int, str]:
        """Map each id to its printed name."""
        names = {
            self.end_of_text: "<|endoftext|>",
            self.separator: "<sep>",
            self.end_of_mask: "<eom>",
            self.prefix: "<pre>",
            self.suffix: "<suf>",
            self.middle: "<mid>",
        }
        names |= {token: f"<mode_{mode}>" for mode, token in zip(MODES, self.modes, strict=True)}
        return names | {token: f"<mask_{number}>" for number, token in enumerate(self.masks, start=1)}


# All special tokens except the masks.
STRUCTURAL_TOKENS = 9


def split_end_of_text(segment_T: Tokens, special: SpecialTokens) -> tuple[Tokens, Tokens, Tokens]:
    """Split a document segment into its opening `<|endoftext|>`, its text and its closing one.

    The outer two are empty where the segment begins or ends inside its document.
    """
    first = int(len(segment_T) > 0 and segment_T[0] == special.end_of_text)
    last = len(segment_T) - int(len(segment_T) > first and segment_T[-1] == special.end_of_text)
    return segment_T[:first], segment_T[first:last], segment_T[last:]


@dataclass(frozen=True)
class Example:
    """The tokens of one row in reading order, with loss mask, attention segments and bidirectional spans.

    Segments are lengths and spans are intervals: a row has few of them, and `pack` fills its arrays by slices.

    Attributes:
        tokens_T: token ids.
        loss_T: whether the loss counts the prediction of this token from the one before it.
        document_tokens: lengths of the attention segments, in reading order; they add up to T.
        spans: [first, last) of each bidirectional span, none empty, each inside one segment. Tokens of a span attend to
            the whole span, all others only to earlier tokens.
    """

    tokens_T: Tokens
    loss_T: NDArray[np.bool_]
    document_tokens: tuple[int, ...]
    spans: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        return len(self.tokens_T)

    @property
    def document_T(self) -> NDArray[np.int64]:
        """Attention segment of each token: 1, 2, … in reading order."""
        return np.repeat(np.arange(1, len(self.document_tokens) + 1), self.document_tokens)

    @property
    def span_T(self) -> NDArray[np.int64]:
        """Bidirectional span of each token: 1, 2, … in reading order, 0 outside of spans."""
        span_T = np.zeros(len(self), np.int64)
        for number, (first, last) in enumerate(self.spans, start=1):
            span_T[first:last] = number
        return span_T

    @classmethod
    def from_segment(cls, tokens_T: Tokens, *, bidirectional_tokens: int = 0, loss_from: int = 0) -> "Example":
        """Return the example of one document segment.

        Args:
            tokens_T: the segment.
            bidirectional_tokens: length of the bidirectional span at its start, 0 for none.
            loss_from: index of the first token with loss.
        """
        loss_T = np.ones(len(tokens_T), bool)
        loss_T[:loss_from] = False
        spans = ((0, bidirectional_tokens),) if bidirectional_tokens else ()
        return cls(tokens_T, loss_T, (len(tokens_T),), spans)

    def opened_by(self, mode_token: int) -> "Example":
        """Insert a mode token in front, into the segment and the span of the first token.

        Neither the new token nor the one after it has loss: a segment's first token never has one, with a mode or
        without.
        """
        loss_T = np.concatenate([[False], self.loss_T])
        loss_T[1:2] = False
        return Example(
            tokens_T=np.concatenate([np.array([mode_token], np.int32), self.tokens_T]),
            loss_T=loss_T,
            document_tokens=(self.document_tokens[0] + 1, *self.document_tokens[1:]),
            spans=tuple((first + 1 if first else 0, last + 1) for first, last in self.spans),
        )

    @classmethod
    def concatenate(cls, examples: Sequence["Example"]) -> "Example":
        """Return the row of these examples; their attention segments and spans stay separate."""
        if len(examples) == 1:
            return examples[0]
        starts = accumulate(map(len, examples), initial=0)
        return cls(
            tokens_T=np.concatenate([example.tokens_T for example in examples]),
            loss_T=np.concatenate([example.loss_T for example in examples]),
            document_tokens=tuple(tokens for example in examples for tokens in example.document_tokens),
            spans=tuple(
                (start + first, start + last)
                for start, example in zip(starts, examples, strict=False)
                for first, last in example.spans
            ),
        )
