"""Prompts in the form that an objective's training rows have.

Shapes: `T` tokens.
"""

from dataclasses import dataclass

import numpy as np

from ablate.objectives.example import MODES, SpecialTokens, Tokens
from ablate.objectives.infill import FORMATS, concatenate
from ablate.objectives.objective import Objective, WeightedTask


@dataclass(frozen=True)
class Prompt:
    """What a model reads before the text that it is to write.

    Attributes:
        tokens_T: the tokens; `<|endoftext|>` comes first, after a mode token where the objective has modes.
        bidirectional_tokens: length of the bidirectional span at their start.
    """

    tokens_T: Tokens
    bidirectional_tokens: int


@dataclass(frozen=True)
class Prompts:
    """The prompts of one objective.

    Attributes:
        honours_bidirectional_spans: whether the architecture does.
    """

    objective: Objective
    special: SpecialTokens
    honours_bidirectional_spans: bool

    @property
    def _left_to_right_task(self) -> WeightedTask:
        """The most frequent task that keeps the text's order, or of all where none does."""
        in_order = [task for task in self.objective.tasks if task.task.keeps_order]
        return max(in_order or self.objective.tasks, key=lambda task: task.probability)

    @property
    def reads_in_order(self) -> bool:
        """Whether any row of the objective has its text in order."""
        return self._left_to_right_task.task.keeps_order or self._left_to_right_task.is_causal

    @property
    def _prefix_task(self) -> WeightedTask | None:
        """The most frequent task whose rows are text in order after a bidirectional span of the same text."""
        tasks = [task for task in self.objective.tasks if task.task.keeps_order and task.has_bidirectional_spans]
        return max(tasks, key=lambda task: task.probability, default=None)

    @property
    def reads_bidirectional_spans(self) -> bool:
        """Whether a continuation's text is read bidirectionally: only by a model that was trained to read text so."""
        return self.honours_bidirectional_spans and self._prefix_task is not None

    def _opening(self, task: WeightedTask) -> Tokens:
        mode = [] if task.mode is None else [self.special.modes[MODES.index(task.mode)]]
        return np.array([*mode, self.special.end_of_text], np.int32)

    def start(self) -> Prompt:
        """Return the prompt of a text that is read left to right from its start."""
        return Prompt(self._opening(self._left_to_right_task), 0)

    def continuation(self, text_T: Tokens) -> Prompt:
        """Return the prompt of what follows a text.

        The text is a bidirectional span where the objective has rows of text after one (`prefix`) and the architecture
        honours it; a span of corrupted text is no such row. A model that never read text in order gets the text as the
        left side of a middle with nothing after it.
        """
        if not self.reads_in_order:
            infill = self.infill(text_T, text_T[:0], np.random.default_rng(0))
            assert infill is not None
            return infill
        prefix_task = self._prefix_task if self.honours_bidirectional_spans else None
        tokens_T = concatenate(self._opening(prefix_task or self._left_to_right_task), text_T)
        return Prompt(tokens_T, len(tokens_T) if prefix_task else 0)

    def infill(self, prefix_T: Tokens, suffix_T: Tokens, rng: np.random.Generator) -> Prompt | None:
        """Return the prompt of a middle between two sides, in the format of most training rows with a middle.

        After the middle the model writes `<eom>`. None if no training row had a middle.
        """
        task = self.objective.infilling_task
        if task is None:
            return None
        opening_T = self._opening(task)
        if task.noise is not None:
            # Span corruption writes the sentinel format, with any number of masks. Its last mask is no input.
            body_T = FORMATS["sentinel"].function(prefix_T, suffix_T, rng, self.special)
            input_tokens = len(opening_T) + len(body_T) - 1
        else:
            assert self.objective.infill is not None
            body_T = self.objective.infill.prompt(prefix_T, suffix_T, rng, self.special)
            input_tokens = len(opening_T) + len(body_T)
        is_bidirectional = self.honours_bidirectional_spans and task.has_bidirectional_spans
        return Prompt(concatenate(opening_T, body_T), input_tokens if is_bidirectional else 0)
