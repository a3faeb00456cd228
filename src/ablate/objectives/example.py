"""One transformed piece of text, and the special tokens that transforms may write.

Shapes: `T` tokens of one piece or row.
"""

from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int32]


@dataclass(frozen=True)
class SpecialTokens:
    """Ids that stand for structure, never for text.

    Attributes:
        end_of_text: opens and closes each document.
        separator: CodeGen2's `<sep>` (section 3.3).
        end_of_mask: its `<eom>`, which closes every middle.
        prefix: `<pre>` of fill-in-the-middle (Bavarian et al. 2022, section 3).
        suffix: its `<suf>`.
        middle: its `<mid>`.
        modes: UL2's, in the order R, S, X.
        masks: CodeGen2's `<mask_1>`, `<mask_2>`, ….
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
    def counted_from(cls, first: int, mask_sentinels: int) -> "SpecialTokens":
        """The ids from `first` on, in the order of the attributes."""
        end_of_text, separator, end_of_mask, prefix, suffix, middle, *modes = range(first, first + 9)
        masks = tuple(range(first + 9, first + 9 + mask_sentinels))
        return cls(end_of_text, separator, end_of_mask, prefix, suffix, middle, (modes[0], modes[1], modes[2]), masks)

    def names(self) -> dict[int, str]:
        """What people call each id."""
        named = {
            self.end_of_text: "<|endoftext|>",
            self.separator: "<sep>",
            self.end_of_mask: "<eom>",
            self.prefix: "<pre>",
            self.suffix: "<suf>",
            self.middle: "<mid>",
        }
        named |= dict(zip(self.modes, ("<mode_R>", "<mode_S>", "<mode_X>"), strict=True))
        return named | {token: f"<mask_{number}>" for number, token in enumerate(self.masks, start=1)}


# Besides the masks.
STRUCTURAL_TOKENS = 9


def parted(piece_T: Tokens, special: SpecialTokens) -> tuple[Tokens, Tokens, Tokens]:
    """A piece's opening `<|endoftext|>`, its text, and its closing one; each of the outer two may be missing."""
    first = int(len(piece_T) > 0 and piece_T[0] == special.end_of_text)
    last = len(piece_T) - int(len(piece_T) > first and piece_T[-1] == special.end_of_text)
    return piece_T[:first], piece_T[first:last], piece_T[last:]


@dataclass(frozen=True)
class Example:
    """The tokens of one row in reading order, and what each is for.

    Segments and regions are kept as lengths and intervals: rows are made of few of them, and a batch fills by slices.

    Attributes:
        tokens_T: token ids.
        loss_T: whether the model is asked to predict this token from the one before it.
        document_tokens: lengths of the attention segments, in the order in which they stand; they add up to T.
        regions: [first, last) of each interval whose tokens may see one another; each in one segment, none empty.
    """

    tokens_T: Tokens
    loss_T: NDArray[np.bool_]
    document_tokens: tuple[int, ...]
    regions: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        return len(self.tokens_T)

    @property
    def document_T(self) -> NDArray[np.int64]:
        """Attention segment of each token, 1, 2, … in order of appearance."""
        return np.repeat(np.arange(1, len(self.document_tokens) + 1), self.document_tokens)

    @property
    def region_T(self) -> NDArray[np.int64]:
        """0, or the number of the token's region."""
        region_T = np.zeros(len(self), np.int64)
        for number, (first, last) in enumerate(self.regions, start=1):
            region_T[first:last] = number
        return region_T

    @classmethod
    def of_piece(cls, tokens_T: Tokens, *, region_tokens: int = 0, loss_from: int = 0) -> "Example":
        """An example of one document piece.

        Args:
            tokens_T: the piece.
            region_tokens: length of the region at its start, 0 for none.
            loss_from: index of the first token that the model is asked to predict.
        """
        loss_T = np.ones(len(tokens_T), bool)
        loss_T[:loss_from] = False
        return cls(tokens_T, loss_T, (len(tokens_T),), ((0, region_tokens),) if region_tokens else ())

    def opened_by(self, token: int) -> "Example":
        """The piece after one more token, in its first token's segment and region.

        Neither is asked for: the new token is given, and what was first is asked for no more than without it.
        """
        loss_T = np.concatenate([[False], self.loss_T])
        loss_T[1:2] = False
        return Example(
            tokens_T=np.concatenate([np.array([token], np.int32), self.tokens_T]),
            loss_T=loss_T,
            document_tokens=(self.document_tokens[0] + 1, *self.document_tokens[1:]),
            regions=tuple((first + 1 if first else 0, last + 1) for first, last in self.regions),
        )

    @classmethod
    def joined(cls, pieces: list["Example"]) -> "Example":
        """Pieces of different documents one after the other: segments and regions stay apart."""
        if len(pieces) == 1:
            return pieces[0]
        starts = accumulate(map(len, pieces), initial=0)
        return cls(
            tokens_T=np.concatenate([piece.tokens_T for piece in pieces]),
            loss_T=np.concatenate([piece.loss_T for piece in pieces]),
            document_tokens=tuple(tokens for piece in pieces for tokens in piece.document_tokens),
            regions=tuple(
                (start + first, start + last)
                for start, piece in zip(starts, pieces, strict=False)
                for first, last in piece.regions
            ),
        )
