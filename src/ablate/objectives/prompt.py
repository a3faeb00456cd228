"""How a model is asked, in the way that its objective's rows taught it.

Shapes: `T` tokens.
"""

from dataclasses import dataclass

import numpy as np

from ablate.objectives.example import Tokens
from ablate.objectives.infill import FORMATS, written
from ablate.objectives.objective import MODES, Arm, Objective


@dataclass(frozen=True)
class Prompt:
    """What a model reads before it is asked for text.

    Attributes:
        tokens_T: the tokens, `<|endoftext|>` first (after a mode's token, where the objective has modes).
        region_tokens: how many of them, from the first on, see one another.
    """

    tokens_T: Tokens
    region_tokens: int


@dataclass(frozen=True)
class Prompts:
    """The prompts of one objective.

    Attributes:
        honours_regions: whether the architecture does.
    """

    objective: Objective
    honours_regions: bool

    @property
    def _reader(self) -> Arm:
        """The most frequent of the arms that read text in its order, or else of all."""
        in_order = [arm for arm in self.objective.arms if arm.task.keeps_order]
        return max(in_order or self.objective.arms, key=lambda arm: arm.probability)

    @property
    def reads_in_order(self) -> bool:
        """Whether any row of the objective held text in its order."""
        return self._reader.task.keeps_order or self._reader.is_causal

    @property
    def reads_regions(self) -> bool:
        """Whether what comes first is read both ways."""
        return self.honours_regions and any(arm.emits_region for arm in self.objective.arms)

    def _opening(self, arm: Arm) -> Tokens:
        special = self.objective.special
        mode = [] if arm.mode is None else [special.modes[MODES.index(arm.mode)]]
        return np.array([*mode, special.end_of_text], np.int32)

    def start(self) -> Prompt:
        """Before a text that is read left to right from its start."""
        return Prompt(self._opening(self._reader), 0)

    def continuation(self, text_T: Tokens) -> Prompt:
        """Before what follows a text: a region where the objective has regions.

        A model that never saw text in its order is asked as it was trained: for a middle with nothing after it.
        """
        if not self.reads_in_order:
            infill = self.infill(text_T, text_T[:0], np.random.default_rng(0))
            assert infill is not None
            return infill
        tokens_T = written(self._opening(self._reader), text_T)
        return Prompt(tokens_T, len(tokens_T) if self.reads_regions else 0)

    def infill(self, prefix_T: Tokens, suffix_T: Tokens, rng: np.random.Generator) -> Prompt | None:
        """Before the middle between two sides, in the format that most rows were infilled in; None where none was.

        After the middle the model writes `<eom>`.
        """
        arm, objective = self.objective.infilling_arm, self.objective
        if arm is None:
            return None
        opening_T = self._opening(arm)
        if arm.noise is not None:
            # Span corruption writes this format, with more than one mask.
            body_T = FORMATS["sentinel"].function(prefix_T, suffix_T, rng, objective.special)
            given = len(opening_T) + len(body_T) - 1
        else:
            assert objective.infill is not None
            body_T = objective.infill.prompt(prefix_T, suffix_T, rng, objective.special)
            given = len(opening_T) + len(body_T)
        region_tokens = given if self.honours_regions and arm.emits_region else 0
        return Prompt(written(opening_T, body_T), region_tokens)
