"""An objective: a mixture of tasks, drawn once per row, applied to each document piece of the row's window."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ablate.config import InfillConfig, ObjectiveConfig
from ablate.errors import UsageError
from ablate.objectives.example import Example, SpecialTokens, Tokens
from ablate.objectives.infill import INFILLS, InfillTransform
from ablate.objectives.randomness import keyed_rng
from ablate.objectives.tasks import TASKS, Task
from ablate.parsing import checked_parameters, nearest


@dataclass(frozen=True)
class Arm:
    """One task of an objective with its checked parameters."""

    label: str
    task: Task
    probability: float
    parameters: Mapping[str, object]

    @property
    def emits_region(self) -> bool:
        """Whether its rows can hold a region."""
        return self.task.emits_region(self.parameters)

    def most_masks(self, piece_tokens: int) -> int:
        """How many mask sentinels a piece of so many tokens can need."""
        return self.task.most_masks(self.parameters, piece_tokens)


def checked_arms(config: ObjectiveConfig) -> tuple[Arm, ...]:
    """The tasks that can be drawn, in the order of the YAML; a task with probability 0 is none.

    Raises:
        UsageError: an unknown task, a wrong parameter, or probabilities that don't sum to 1.
    """
    arms = []
    for label, chosen in config.tasks.items():
        where = f"objective.tasks.{label}"
        if chosen.task not in TASKS:
            raise UsageError(f"{where}.task={chosen.task}: no such task. {nearest(chosen.task, TASKS)}")
        known = TASKS[chosen.task]
        parameters = checked_parameters(known.function, chosen.parameters, where)
        if problem := known.problem(parameters):
            raise UsageError(f"{where}: {problem}.")
        arms.append(Arm(label, known, chosen.probability, parameters))
    total = sum(arm.probability for arm in arms)
    if abs(total - 1) > 1e-9:
        given = ", ".join(f"{arm.label} {arm.probability:g}" for arm in arms) or "no task"
        raise UsageError(f"objective.tasks: the probabilities must sum to 1; given {given}, which is {total:g}.")
    return tuple(arm for arm in arms if arm.probability > 0)


@dataclass(frozen=True)
class Objective:
    """What a row asks: infill, then one task, on each document piece by itself.

    Attributes:
        arms: the tasks and their probabilities.
        infill: the transform before the task.
        special: ids that transforms write.
        data_seed: with the row's number, the key of every draw.
    """

    arms: tuple[Arm, ...]
    infill: InfillTransform
    special: SpecialTokens
    data_seed: int

    @classmethod
    def from_config(
        cls, objective: ObjectiveConfig, infill: InfillConfig, special: SpecialTokens, data_seed: int
    ) -> "Objective":
        """Looks the names up; see `checked_arms` for what is refused."""
        return cls(checked_arms(objective), INFILLS[infill.format], special, data_seed)

    def example(self, row: int, tokens_T: Tokens, document_T: NDArray[np.signedinteger]) -> tuple[Example, int]:
        """The row's example and the index of its task: pure in (data_seed, row, tokens).

        Args:
            row: number of the row.
            tokens_T: the window.
            document_T: the document each token belongs to, non-decreasing.
        """
        rng = keyed_rng(self.data_seed, row, "task")
        cumulative = np.cumsum([arm.probability for arm in self.arms])
        index = min(int(np.searchsorted(cumulative, rng.random(), side="right")), len(self.arms) - 1)
        arm = self.arms[index]
        apply = partial(arm.task.function, **arm.parameters)
        infill_rng = keyed_rng(self.data_seed, row, "infill")
        task_rng = keyed_rng(self.data_seed, row, arm.task.name)
        borders = np.flatnonzero(np.diff(document_T)) + 1
        pieces = [
            apply(self.infill(piece_T, infill_rng, self.special), task_rng, self.special)
            for piece_T in np.split(tokens_T, borders)
        ]
        return Example.joined(pieces), index
