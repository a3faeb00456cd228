"""How a model is prompted with text that is not of its corpus.

Shapes: `T` tokens.
"""

from dataclasses import dataclass

from ablate.evaluation.held_out import HeldOut
from ablate.evaluation.reading import fitted_sides
from ablate.objectives.example import Tokens
from ablate.objectives.prompt import Prompt
from ablate.objectives.randomness import keyed_rng

# All arms infill in the same way, whatever a trial's seeds are.
FORMAT_SEED = 0


@dataclass(frozen=True)
class Prompting:
    """The prompts of a trial's model, with at most a given number of tokens of text.

    Attributes:
        leading_end_of_text: whether prompts begin with `<|endoftext|>`, as documents do in our training.
    """

    held_out: HeldOut
    leading_end_of_text: bool

    def continuation(self, text_T: Tokens, room: int) -> Prompt:
        """Return the prompt of what follows a text. A text of more than `room` tokens loses its start."""
        kept_T = text_T[max(0, len(text_T) - max(0, room)) :]
        prompts = self.held_out.prompts
        return self._opened(prompts.continuation(kept_T) if len(kept_T) else prompts.start())

    def infill(self, name: str, prefix_T: Tokens, suffix_T: Tokens, room: int) -> Prompt | None:
        """Return the prompt of a middle, or None for a model that was not trained to infill.

        Args:
            name: keys what a format leaves to chance.
            prefix_T: the text before the middle.
            suffix_T: the text after it.
            room: for both sides; what is farthest from the middle is lost.
        """
        rng = keyed_rng(FORMAT_SEED, 0, f"format\x1f{name}")
        prompt = self.held_out.prompts.infill(*fitted_sides(prefix_T, suffix_T, room), rng)
        return None if prompt is None else self._opened(prompt)

    def _opened(self, prompt: Prompt) -> Prompt:
        end_of_text = self.held_out.tokenizer.special.end_of_text
        if self.leading_end_of_text or prompt.tokens_T[0] != end_of_text or len(prompt.tokens_T) == 1:
            return prompt
        return Prompt(prompt.tokens_T[1:], max(0, prompt.bidirectional_tokens - 1))
