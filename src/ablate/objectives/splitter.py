"""What char- and line-level infill needs of a tokenizer: to split text inside of tokens.

Shapes: `T` tokens of one document segment.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ablate.objectives.example import Tokens


class TokenSplitter(Protocol):
    """Splits tokens between characters; each part is what the tokenizer itself would make of the part's text."""

    def characters(self, tokens_T: Tokens) -> int:
        """Count the characters that begin in the tokens."""
        ...

    def lines(self, tokens_T: Tokens) -> NDArray[np.int64]:
        """Return the index of each line's first character, ascending, from 0 on."""
        ...

    def split(self, tokens_T: Tokens, offsets: Sequence[int] | NDArray[np.int64]) -> list[Tokens]:
        """Split before the characters at these ascending offsets; parts may be empty."""
        ...
