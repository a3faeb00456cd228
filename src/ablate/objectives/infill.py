"""Infill: text put out of order, so that a left-to-right model learns to write a middle between two sides.

A format is a function `(prefix_T, suffix_T, rng, special, *, …parameters) -> prompt_T` under `@infill_format`: what the
model reads before it writes the middle and `<eom>`. Training rows and scored prompts are made by the same function.

Shapes: `T` tokens of one piece.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ablate.config.trial import InfillConfig, Share
from ablate.errors import UsageError
from ablate.objectives.example import SpecialTokens, Tokens, parted
from ablate.objectives.registry import Component, Parameters, Registry, no_problem
from ablate.objectives.splitter import TokenSplitter


@dataclass(frozen=True)
class InfillFormat(Component):
    """A registered format.

    Attributes:
        masks: how many mask sentinels it writes.
    """

    masks: int


FORMATS: Registry[InfillFormat] = Registry("infill format")
NONE = "none"


def infill_format(*, code_version: int, masks: int = 0) -> Callable[[Callable[..., Tokens]], Callable[..., Tokens]]:
    """Registers a function as a format under its own name."""

    def register(function: Callable[..., Tokens]) -> Callable[..., Tokens]:
        FORMATS.add(InfillFormat(function.__name__, function, code_version, no_problem, masks))
        return function

    return register


def written(*parts: int | Tokens) -> Tokens:
    """Tokens one after the other."""
    return np.concatenate([np.atleast_1d(np.asarray(part, np.int32)) for part in parts])


@infill_format(code_version=1)
def psm(prefix_T: Tokens, suffix_T: Tokens, rng: np.random.Generator, special: SpecialTokens) -> Tokens:
    """Prefix, suffix, middle (Bavarian et al. 2022, section 3): `<pre> prefix <suf> suffix <mid>`."""
    return written(special.prefix, prefix_T, special.suffix, suffix_T, special.middle)


@infill_format(code_version=1)
def spm(prefix_T: Tokens, suffix_T: Tokens, rng: np.random.Generator, special: SpecialTokens) -> Tokens:
    """Suffix, prefix, middle, in the variant that shares PSM's symbols (there, appendix D): the middle goes on from
    the prefix. `<pre> <suf> suffix <mid> prefix`.
    """
    return written(special.prefix, special.suffix, suffix_T, special.middle, prefix_T)


@infill_format(code_version=1)
def joint(
    prefix_T: Tokens, suffix_T: Tokens, rng: np.random.Generator, special: SpecialTokens, *, spm_share: Share
) -> Tokens:
    """SPM in a share of the pieces, PSM in the others (there, section 4.5)."""
    chosen = spm if rng.random() < spm_share else psm
    return chosen(prefix_T, suffix_T, rng, special)


@infill_format(code_version=1, masks=1)
def sentinel(prefix_T: Tokens, suffix_T: Tokens, rng: np.random.Generator, special: SpecialTokens) -> Tokens:
    """CodeGen2's format (section 3.3): `prefix <mask_1> suffix <|endoftext|> <sep> <mask_1>`."""
    mask = special.masks[0]
    return written(prefix_T, mask, suffix_T, special.end_of_text, special.separator, mask)


@dataclass(frozen=True)
class Infill:
    """A format with its parameters, and how often and where it takes a middle out.

    Attributes:
        rate: share of the pieces.
        level: where a middle may be cut: between tokens, between characters, between lines.
        merges: whether a row is one piece, whatever documents it holds.
    """

    format: InfillFormat
    parameters: Parameters
    rate: float
    level: str
    merges: bool

    @classmethod
    def of(cls, config: InfillConfig) -> "Infill | None":
        """The configured infill; None where no piece is ever changed.

        Raises:
            UsageError: no such format, or parameters that it can't take.
        """
        if config.format == NONE:
            if config.rate > 0 or config.parameters:
                raise UsageError(
                    f"infill.rate={config.rate:g}: infill=none changes nothing. "
                    f"Choose a format ({', '.join(sorted(FORMATS))}), or infill.rate=0."
                )
            return None
        if config.format not in FORMATS:
            FORMATS.checked(config.format, {}, "infill", "format")
        chosen, parameters = FORMATS.checked(config.format, config.parameters, "infill", "format")
        if config.rate == 0:
            return None
        return cls(chosen, parameters, config.rate, config.level, config.scope == "context")

    def prompt(self, prefix_T: Tokens, suffix_T: Tokens, rng: np.random.Generator, special: SpecialTokens) -> Tokens:
        """What the model reads before it writes the middle and `<eom>`."""
        prompt: Tokens = self.format.function(prefix_T, suffix_T, rng, special, **self.parameters)
        return prompt

    def __call__(
        self, piece_T: Tokens, rng: np.random.Generator, special: SpecialTokens, splitter: TokenSplitter | None
    ) -> Tokens:
        """The piece, in its own order or with a middle at its end.

        The `<|endoftext|>` of a document's start and end stay where they are.
        """
        opening_T, text_T, closing_T = parted(piece_T, special)
        if rng.random() >= self.rate or len(text_T) == 0:
            return piece_T
        prefix_T, middle_T, suffix_T = self._thirds(text_T, rng, splitter)
        prompt_T = self.prompt(prefix_T, suffix_T, rng, special)
        return written(opening_T, prompt_T, middle_T, special.end_of_mask, closing_T)

    def _thirds(
        self, text_T: Tokens, rng: np.random.Generator, splitter: TokenSplitter | None
    ) -> tuple[Tokens, Tokens, Tokens]:
        """Prefix, middle and suffix: two borders are drawn uniformly, as Bavarian et al. do (section 3)."""
        if self.level == "token":
            first, last = sorted(rng.integers(0, len(text_T), size=2, endpoint=True))
            return text_T[:first], text_T[first:last], text_T[last:]
        assert splitter is not None, "the grid refuses a tokenizer that can't split"
        characters = splitter.characters(text_T)
        if self.level == "char":
            borders = rng.integers(0, characters, size=2, endpoint=True)
        else:
            places = np.append(splitter.lines(text_T), characters)
            borders = places[rng.integers(0, len(places), size=2)]
        prefix_T, middle_T, suffix_T = splitter.cut(text_T, np.sort(borders))
        return prefix_T, middle_T, suffix_T
