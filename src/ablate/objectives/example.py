"""One transformed piece of text, and the special tokens that transforms may write.

Shapes: `T` tokens of one piece or row.
"""

from dataclasses import dataclass

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

    Attributes:
        tokens_T: token ids.
        document_T: attention segment of each token, 1, 2, … in order of appearance.
        region_T: 0, or the number of the region (an interval of one document) whose tokens may see one another.
        loss_T: whether the model is asked to predict this token from the one before it.
    """

    tokens_T: Tokens
    document_T: NDArray[np.int32]
    region_T: NDArray[np.int32]
    loss_T: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.tokens_T)

    @classmethod
    def of_piece(cls, tokens_T: Tokens, *, region_tokens: int = 0, loss_from: int = 0) -> "Example":
        """An example of one document piece.

        Args:
            tokens_T: the piece.
            region_tokens: length of the region at its start, 0 for none.
            loss_from: index of the first token that the model is asked to predict.
        """
        index_T = np.arange(len(tokens_T))
        return cls(
            tokens_T=tokens_T,
            document_T=np.ones(len(tokens_T), np.int32),
            region_T=(index_T < region_tokens).astype(np.int32),
            loss_T=index_T >= loss_from,
        )

    def opened_by(self, token: int) -> "Example":
        """The piece after one more token, in its first token's segment and region.

        Neither is asked for: the new token is given, and what was first is asked for no more than without it.
        """
        loss_T = np.concatenate([[False], self.loss_T])
        loss_T[1:2] = False
        return Example(
            tokens_T=np.concatenate([np.array([token], np.int32), self.tokens_T]),
            document_T=np.concatenate([self.document_T[:1], self.document_T]),
            region_T=np.concatenate([self.region_T[:1], self.region_T]),
            loss_T=loss_T,
        )

    @classmethod
    def joined(cls, pieces: list["Example"]) -> "Example":
        """Pieces of different documents one after the other: segments and regions stay apart."""
        if len(pieces) == 1:
            return pieces[0]
        document_offset = region_offset = 0
        documents, regions = [], []
        for piece in pieces:
            documents.append(piece.document_T + document_offset)
            regions.append(np.where(piece.region_T > 0, piece.region_T + region_offset, 0).astype(np.int32))
            document_offset = int(documents[-1].max())
            region_offset = max(region_offset, int(regions[-1].max()))
        return cls(
            tokens_T=np.concatenate([piece.tokens_T for piece in pieces]),
            document_T=np.concatenate(documents),
            region_T=np.concatenate(regions),
            loss_T=np.concatenate([piece.loss_T for piece in pieces]),
        )

    def cut(self, tokens: int) -> "Example":
        """The first `tokens` tokens."""
        return Example(self.tokens_T[:tokens], self.document_T[:tokens], self.region_T[:tokens], self.loss_T[:tokens])
