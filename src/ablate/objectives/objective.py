"""An objective: a mixture of tasks, drawn once per row, applied to each document piece of the row's window."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from ablate.config.trial import InfillConfig, ObjectiveConfig
from ablate.errors import UsageError
from ablate.objectives.example import Example, SpecialTokens, Tokens
from ablate.objectives.infill import Infill
from ablate.objectives.noise import Noise, checked_noise
from ablate.objectives.randomness import keyed_rng
from ablate.objectives.splitter import TokenSplitter
from ablate.objectives.tasks import TASKS, Task

MODES = ("R", "S", "X")


@dataclass(frozen=True)
class Arm:
    """One task of an objective with its checked parameters.

    Attributes:
        mode: the token that opens its pieces, or None.
        noise: what a task that has a `noise` draws its spans by.
    """

    label: str
    task: Task
    probability: float
    parameters: Mapping[str, object]
    mode: str | None = None
    noise: tuple[Noise, Mapping[str, object]] | None = None

    @property
    def emits_region(self) -> bool:
        """Whether its rows can hold a region."""
        return not self.is_causal and self.task.emits_region(self.parameters)

    @property
    def is_causal(self) -> bool:
        """Whether all its rows are plain causal ones."""
        return self.mode is None and self.task.is_causal(self.parameters)

    @property
    def merges(self) -> bool:
        """Whether documents that share a row are one piece to it."""
        return self.task.merges(self.parameters)

    @property
    def code_versions(self) -> dict[str, int]:
        """Of the functions that make its rows."""
        parts = [self.task, *([self.noise[0]] if self.noise else [])]
        return {part.name: part.code_version for part in parts}

    def most_masks(self, piece_tokens: int) -> int:
        """How many mask sentinels a piece of so many tokens can need."""
        return self.noise[0].most_spans(self.noise[1], piece_tokens) if self.noise else 0

    @property
    def least_piece_tokens(self) -> float:
        """Of how many tokens a piece must be for a span of the wanted length to fit the ratio."""
        return self.noise[0].least_piece_tokens(self.noise[1]) if self.noise and not self.is_causal else 0.0

    def example(self, piece_T: Tokens, rng: np.random.Generator, special: SpecialTokens) -> Example:
        """The task's example of a piece, opened by the mode's token."""
        example: Example = self.task.function(piece_T, rng, special, **self.parameters)
        return example if self.mode is None else example.opened_by(special.modes[MODES.index(self.mode)])


def checked_arms(config: ObjectiveConfig) -> tuple[Arm, ...]:
    """The tasks that can be drawn, in the order of the YAML; a task with probability 0 is none.

    Raises:
        UsageError: an unknown task, a wrong parameter, or probabilities that don't sum to 1.
    """
    arms = []
    for label, chosen in config.tasks.items():
        where = f"objective.tasks.{label}"
        task, parameters = TASKS.checked(chosen.task, chosen.parameters, where, "task")
        noise = None
        if "noise" in parameters:
            noise = checked_noise(parameters["noise"], f"{where}.noise")
            parameters["noise"] = {"kind": noise[0].name, **noise[1]}
        arms.append(Arm(label, task, chosen.probability, parameters, chosen.mode, noise))
    total = sum(arm.probability for arm in arms)
    if abs(total - 1) > 1e-9:
        given = ", ".join(f"{arm.label} {arm.probability:g}" for arm in arms) or "no task"
        raise UsageError(f"objective.tasks: the probabilities must sum to 1; given {given}, which is {total:g}.")
    return tuple(arm for arm in arms if arm.probability > 0)


def active_infill(config: InfillConfig, arms: Sequence[Arm]) -> Infill | None:
    """The infill that some row can show: tasks that move text themselves are given it in its order.

    Raises:
        UsageError: no such format, or parameters that it can't take.
    """
    infill = Infill.of(config)
    return infill if any(arm.task.keeps_order for arm in arms) else None


def infilling_arm(arms: Sequence[Arm], infill: Infill | None) -> Arm | None:
    """The arm in whose way most rows are infilled; None where none is."""

    def share(arm: Arm) -> float:
        if arm.noise is not None:
            return 0.0 if arm.is_causal else arm.probability
        return arm.probability * infill.rate if infill and arm.task.keeps_order else 0.0

    best = max(arms, key=share)
    return best if share(best) > 0 else None


@dataclass(frozen=True)
class Objective:
    """What a row asks: one task, after infill where it keeps the text's order, on each document piece by itself.

    Attributes:
        arms: the tasks and their probabilities.
        infill: what may be done to a piece before the task; None for nothing.
        special: ids that transforms write.
        splitter: cuts text inside of tokens; None where the tokenizer can't.
        data_seed: with the row's number, the key of every draw.
    """

    arms: tuple[Arm, ...]
    infill: Infill | None
    special: SpecialTokens
    splitter: TokenSplitter | None
    data_seed: int

    @classmethod
    def from_config(
        cls,
        objective: ObjectiveConfig,
        infill: InfillConfig,
        special: SpecialTokens,
        data_seed: int,
        splitter: TokenSplitter | None = None,
    ) -> "Objective":
        """Looks the names up; see `checked_arms` and `Infill.of` for what is refused."""
        arms = checked_arms(objective)
        return cls(arms, active_infill(infill, arms), special, splitter, data_seed)

    def example(self, row: int, tokens_T: Tokens, document_tokens: tuple[int, ...]) -> tuple[Example, int]:
        """The row's example and the index of its task: pure in (data_seed, row, tokens).

        Args:
            row: number of the row.
            tokens_T: the window.
            document_tokens: lengths of its parts that come from one document each.
        """
        index = self._drawn(row)
        arm = self.arms[index]
        infill = self.infill if arm.task.keeps_order else None
        merges = arm.merges or (infill is not None and infill.merges)
        pieces = [tokens_T] if merges else _pieces(tokens_T, document_tokens)
        if infill is not None:
            rng = keyed_rng(self.data_seed, row, "infill")
            pieces = [infill(piece_T, rng, self.special, self.splitter) for piece_T in pieces]
        rng = keyed_rng(self.data_seed, row, arm.task.name)
        return Example.joined([arm.example(piece_T, rng, self.special) for piece_T in pieces]), index

    @cached_property
    def _borders(self) -> NDArray[np.float64]:
        """Where each task's share of [0, 1) ends, the last one's aside."""
        return np.cumsum([arm.probability for arm in self.arms])[:-1]

    def _drawn(self, row: int) -> int:
        """The index of the row's task."""
        if len(self.arms) == 1:
            return 0
        return int(np.searchsorted(self._borders, keyed_rng(self.data_seed, row, "task").random(), side="right"))

    @property
    def infilling_arm(self) -> Arm | None:
        """See `infilling_arm`."""
        return infilling_arm(self.arms, self.infill)


def _pieces(tokens_T: Tokens, document_tokens: tuple[int, ...]) -> list[Tokens]:
    """The window's parts by document."""
    borders = accumulate(document_tokens, initial=0)
    return [tokens_T[first:last] for first, last in pairwise(borders)]
