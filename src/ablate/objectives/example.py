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

    `end_of_text` opens and closes each document; `separator`, `end_of_mask` and `masks` are CodeGen2's infill
    symbols (section 3.3: `<sep>`, `<eom>`, `<mask_k>`).
    """

    end_of_text: int
    separator: int
    end_of_mask: int
    masks: tuple[int, ...]


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

    @classmethod
    def joined(cls, pieces: list["Example"]) -> "Example":
        """Pieces of different documents one after the other: segments and regions stay apart."""
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
