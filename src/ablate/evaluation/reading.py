"""What a model reads and which of its tokens are scored.

Shapes: `T` tokens of a reading, `S` scored tokens of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablate.objectives.example import Tokens
from ablate.objectives.prompt import Prompt

# The most that any format writes beside the text.
STRUCTURE_TOKENS = 8


@dataclass(frozen=True)
class Reading:
    """A prompt, and the tokens after it, each of which is scored."""

    prompt: Prompt
    scored_S: Tokens

    @property
    def tokens_T(self) -> Tokens:
        """All tokens in their order."""
        return np.concatenate([self.prompt.tokens_T, self.scored_S])


@dataclass(frozen=True)
class TokenScores:
    """Of each scored token its nll in nats, and whether it was the model's first choice."""

    nll_S: NDArray[np.float64]
    is_first_choice_S: NDArray[np.bool_]


@dataclass(frozen=True)
class View:
    """What the model reads at once of a reading: tokens start … end − 1, of which those from `scored_from` count."""

    reading: int
    start: int
    end: int
    scored_from: int


def views(reading: int, tokens: int, scored_from: int, context_tokens: int) -> Iterator[View]:
    """One view where the reading fits the context; else each next one keeps half a context of what came before.

    The last token is only asked for, so one more than the context fits.
    """
    start = 0
    while scored_from < tokens:
        end = min(max(start + context_tokens + 1, scored_from + 1), tokens)
        start = max(start, end - context_tokens - 1)
        yield View(reading, start, end, scored_from)
        scored_from = end
        start = end - context_tokens // 2


def fitted_sides(prefix_T: Tokens, suffix_T: Tokens, room: int) -> tuple[Tokens, Tokens]:
    """Return the text on both sides of a middle with at most so many tokens; what is farthest from it is lost."""
    room, before, after = max(0, room), len(prefix_T), len(suffix_T)
    before = min(before, max(room // 2, room - after))
    after = min(after, room - before)
    return prefix_T[len(prefix_T) - before :], suffix_T[:after]
