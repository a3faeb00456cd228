"""Infill: a transform of the window before the objective sees it, by name."""

from collections.abc import Callable

import numpy as np

from ablate.objectives.example import SpecialTokens, Tokens

InfillTransform = Callable[[Tokens, np.random.Generator, SpecialTokens], Tokens]


def none(tokens_T: Tokens, rng: np.random.Generator, special: SpecialTokens) -> Tokens:
    """The text in its own order."""
    return tokens_T


INFILLS: dict[str, InfillTransform] = {"none": none}
