"""Infill: reorder text so that a left-to-right model learns to write a middle between two sides.

A format is a function `(prefix_T, suffix_T, rng, special, *, …parameters) -> prompt_T` under `@infill_format`. The
prompt is what the model reads before it writes the middle and `<eom>`. The same function makes training rows and
prompts for scoring.

Shapes: `T` tokens of one document segment.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ablate.config.fields import Fraction
from ablate.config.registry import Component, Parameters, Registry, no_problem
from ablate.config.trial import InfillConfig
from ablate.errors import UsageError
from ablate.objectives.example import SpecialTokens, Tokens, split_end_of_text
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
# Of `scope: context`. Since 2, the documents of a row in which nothing was moved stay segments of their own.
CONTEXT_VERSION = 2


def infill_format(*, code_version: int, masks: int = 0) -> Callable[[Callable[..., Tokens]], Callable[..., Tokens]]:
    """Register a function as a format under its own name."""

    def register(function: Callable[..., Tokens]) -> Callable[..., Tokens]:
        FORMATS.add(InfillFormat(function.__name__, function, code_version, no_problem, masks))
        return function

    return register


def concatenate(*parts: int | Tokens) -> Tokens:
    """Concatenate tokens and arrays of tokens."""
    return np.concatenate([np.atleast_1d(np.asarray(part, np.int32)) for part in parts])


@infill_format(code_version=1)
def psm(prefix_T: Tokens, suffix_T: Tokens, rng: np.random.Generator, special: SpecialTokens) -> Tokens:
    """Prefix, suffix, middle (Bavarian et al. 2022, section 3): `<pre> prefix <suf> suffix <mid>`."""
    return concatenate(special.prefix, prefix_T, special.suffix, suffix_T, special.middle)


@infill_format(code_version=1)
def spm(prefix_T: Tokens, suffix_T: Tokens, rng: np.random.Generator, special: SpecialTokens) -> Tokens:
    """Suffix, prefix, middle, in the variant that shares PSM's tokens (Bavarian et al. 2022, appendix D).

    `<pre> <suf> suffix <mid> prefix`: the middle continues the prefix.
    """
    return concatenate(special.prefix, special.suffix, suffix_T, special.middle, prefix_T)


@infill_format(code_version=1)
def joint(
    prefix_T: Tokens, suffix_T: Tokens, rng: np.random.Generator, special: SpecialTokens, *, spm_fraction: Fraction
) -> Tokens:
    """SPM for a fraction of the segments, PSM for the others (Bavarian et al. 2022, section 4.5)."""
    order = spm if rng.random() < spm_fraction else psm
    return order(prefix_T, suffix_T, rng, special)


@infill_format(code_version=1, masks=1)
def sentinel(prefix_T: Tokens, suffix_T: Tokens, rng: np.random.Generator, special: SpecialTokens) -> Tokens:
    """CodeGen2's format (section 3.3): `prefix <mask_1> suffix <|endoftext|> <sep> <mask_1>`."""
    mask = special.masks[0]
    return concatenate(prefix_T, mask, suffix_T, special.end_of_text, special.separator, mask)


@dataclass(frozen=True)
class Infill:
    """A format with its parameters, how often it is applied, and where text is split.

    Attributes:
        rate: fraction of the segments that are reordered.
        level: where a middle may begin and end: between tokens, characters or lines.
        merges_documents: whether a row is one segment, whatever documents it holds.
    """

    format: InfillFormat
    parameters: Parameters
    rate: float
    level: str
    merges_documents: bool

    @classmethod
    def from_config(cls, config: InfillConfig) -> "Infill | None":
        """Look up the configured infill; None where it changes no segment.

        Raises:
            UsageError: no such format, or parameters that it does not take.
        """
        if config.format == NONE:
            if config.rate > 0 or config.parameters:
                raise UsageError(
                    f"infill.rate={config.rate:g}: infill=none changes nothing. "
                    f"Choose a format ({', '.join(sorted(FORMATS))}), or infill.rate=0."
                )
            return None
        infill_format, parameters = FORMATS.checked(config.format, config.parameters, "infill", "format")
        if config.rate == 0:
            return None
        return cls(infill_format, parameters, config.rate, config.level, config.scope == "context")

    def prompt(self, prefix_T: Tokens, suffix_T: Tokens, rng: np.random.Generator, special: SpecialTokens) -> Tokens:
        """Return what the model reads before it writes the middle and `<eom>`."""
        prompt: Tokens = self.format.function(prefix_T, suffix_T, rng, special, **self.parameters)
        return prompt

    def __call__(
        self, segment_T: Tokens, rng: np.random.Generator, special: SpecialTokens, splitter: TokenSplitter | None
    ) -> Tokens | None:
        """Return the segment, at `rate`, with a middle moved to its end; None where nothing is moved.

        The `<|endoftext|>` at a document's start and end stay in place. In a segment of several files, with `<sep>`
        between them, each file is reordered at `rate`, and no middle crosses a separator.
        """
        opening_T, text_T, closing_T = split_end_of_text(segment_T, special)
        # After the first file each part begins with its separator.
        borders = np.flatnonzero(text_T == special.separator)
        parts = [text_T] if self.merges_documents else np.split(text_T, borders)
        moved = [self._infilled(part_T, int(number > 0), rng, special, splitter) for number, part_T in enumerate(parts)]
        if all(part_T is None for part_T in moved):
            return None
        chosen = [old_T if new_T is None else new_T for old_T, new_T in zip(parts, moved, strict=True)]
        return concatenate(opening_T, *chosen, closing_T)

    def _infilled(
        self,
        part_T: Tokens,
        text_from: int,
        rng: np.random.Generator,
        special: SpecialTokens,
        splitter: TokenSplitter | None,
    ) -> Tokens | None:
        """Return a part, at `rate`, with a middle of its text moved to its end; None where it stays as it is."""
        opening_T, text_T = part_T[:text_from], part_T[text_from:]
        if rng.random() >= self.rate or len(text_T) == 0:
            return None
        prefix_T, middle_T, suffix_T = self._split(text_T, rng, splitter)
        prompt_T = self.prompt(prefix_T, suffix_T, rng, special)
        return concatenate(opening_T, prompt_T, middle_T, special.end_of_mask)

    def _split(
        self, text_T: Tokens, rng: np.random.Generator, splitter: TokenSplitter | None
    ) -> tuple[Tokens, Tokens, Tokens]:
        """Split text into prefix, middle and suffix at two uniform draws (Bavarian et al. 2022, section 3)."""
        if self.level == "token":
            first, last = sorted(rng.integers(0, len(text_T), size=2, endpoint=True))
            return text_T[:first], text_T[first:last], text_T[last:]
        assert splitter is not None, "planning rejects tokenizers that cannot split"
        characters = splitter.characters(text_T)
        if self.level == "char":
            offsets = rng.integers(0, characters, size=2, endpoint=True)
        else:
            lines = np.append(splitter.lines(text_T), characters)
            offsets = lines[rng.integers(0, len(lines), size=2)]
        prefix_T, middle_T, suffix_T = splitter.split(text_T, np.sort(offsets))
        return prefix_T, middle_T, suffix_T
