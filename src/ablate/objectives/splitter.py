"""What char- and line-level infill asks of a tokenizer: to cut text inside of tokens.

Shapes: `T` tokens of one piece.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ablate.objectives.example import Tokens


class TokenSplitter(Protocol):
    """Cuts tokens between characters; each part is as the tokenizer itself would write the part's text."""

    def characters(self, tokens_T: Tokens) -> int:
        """How many characters begin in the tokens."""
        ...

    def lines(self, tokens_T: Tokens) -> NDArray[np.int64]:
        """Before which characters a line begins, ascending, from 0 on."""
        ...

    def cut(self, tokens_T: Tokens, offsets: Sequence[int] | NDArray[np.int64]) -> list[Tokens]:
        """The parts before, between and after the characters with these ascending offsets; some may be empty."""
        ...
