"""An objective: a mixture of tasks, one of which is drawn per row and applied to each document segment of its window.

`Objective` is what a configuration says; `RowTransform` binds it to a tokenizer and a seed and makes rows.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from ablate.config.parse import plain
from ablate.config.trial import InfillConfig, ObjectiveConfig, TrialConfig
from ablate.errors import UsageError, nearest
from ablate.objectives.example import MODES, Example, SpecialTokens, Tokens
from ablate.objectives.infill import Infill
from ablate.objectives.noise import Noise, checked_noise
from ablate.objectives.randomness import keyed_rng
from ablate.objectives.splitter import TokenSplitter
from ablate.objectives.tasks import TASKS, Task


@dataclass(frozen=True)
class WeightedTask:
    """A task of an objective with its checked parameters and its probability.

    Attributes:
        mode: the mode that its segments open with, one of `MODES`, or None.
        noise: the noise of a task that has one, with its parameters.
    """

    label: str
    task: Task
    probability: float
    parameters: Mapping[str, object]
    mode: str | None = None
    noise: tuple[Noise, Mapping[str, object]] | None = None

    @property
    def has_bidirectional_spans(self) -> bool:
        """Whether its rows can hold a bidirectional span."""
        return not self.is_causal and self.task.has_bidirectional_spans(self.parameters)

    @property
    def is_causal(self) -> bool:
        """Whether all its rows are plain causal ones."""
        return self.mode is None and self.task.is_causal(self.parameters)

    @property
    def adds_tokens(self) -> bool:
        """Whether its rows can have more tokens than the text. Tasks that keep the text's order add none."""
        return self.mode is not None or not (self.task.keeps_order or self.is_causal)

    @property
    def merges_documents(self) -> bool:
        """Whether the documents of a row are one segment."""
        return self.task.merges_documents(self.parameters)

    @property
    def code_versions(self) -> dict[str, int]:
        """Code versions of the functions that make its rows, by name."""
        components = [self.task, *([self.noise[0]] if self.noise else [])]
        return {component.name: component.code_version for component in components}

    def max_masks(self, segment_tokens: int) -> int:
        """Return the most mask sentinels that a segment of this length can need."""
        return self.noise[0].max_spans(self.noise[1], segment_tokens) if self.noise else 0

    @property
    def min_segment_tokens(self) -> float:
        """The shortest segment in which a span of the configured length fits the noise's ratio."""
        return self.noise[0].min_segment_tokens(self.noise[1]) if self.noise and not self.is_causal else 0.0

    def example(self, segment_T: Tokens, rng: np.random.Generator, special: SpecialTokens) -> Example:
        """Apply the task to a segment, and open it with the mode's token."""
        example: Example = self.task.function(segment_T, rng, special, **self.parameters)
        return example if self.mode is None else example.opened_by(special.modes[MODES.index(self.mode)])


@dataclass(frozen=True)
class Stage:
    """A part of the budget.

    Attributes:
        from_fraction: of the budget, at which it begins.
        probabilities: of each task of the objective.
    """

    from_fraction: float
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Objective:
    """The checked tasks and infill of a configuration.

    Attributes:
        tasks: tasks of positive probability in any stage, in the order of the YAML. Their probability is the mean over
            the budget.
        infill: applied before tasks that keep the text's order; None where it changes no row.
        stages: the probabilities of the tasks from each fraction of the budget on; empty where they never change.
    """

    tasks: tuple[WeightedTask, ...]
    infill: Infill | None
    stages: tuple[Stage, ...] = ()

    @classmethod
    def of(cls, trial: TrialConfig) -> "Objective":
        """Return the trial's objective; each configuration is parsed once per process. Raises like `from_config`."""
        key = json.dumps([plain(trial.objective), plain(trial.infill)])
        if key not in _PARSED:
            _PARSED[key] = cls.from_config(trial.objective, trial.infill)
        return _PARSED[key]

    @classmethod
    def from_config(cls, objective: ObjectiveConfig, infill: InfillConfig) -> "Objective":
        """Look up tasks, noises and the infill format, and check their parameters.

        Raises:
            UsageError: an unknown name, a wrong parameter, probabilities that do not sum to 1, or stages out of order.
        """
        tasks, stages = _checked_tasks(objective)
        active = Infill.from_config(infill)
        return cls(tasks, active if any(task.task.keeps_order for task in tasks) else None, stages)

    @property
    def is_causal(self) -> bool:
        """Whether every task makes plain causal rows."""
        return all(task.is_causal for task in self.tasks)

    @property
    def has_bidirectional_spans(self) -> bool:
        """Whether any row can hold a bidirectional span."""
        return any(task.has_bidirectional_spans for task in self.tasks)

    @property
    def adds_tokens(self) -> bool:
        """Whether a row can have more tokens than its window."""
        return self.infill is not None or any(task.adds_tokens for task in self.tasks)

    @property
    def infilling_task(self) -> WeightedTask | None:
        """The task of most rows with a middle to fill in; None if no row has one."""

        def fraction(task: WeightedTask) -> float:
            if task.noise is not None:
                return 0.0 if task.is_causal else task.probability
            return task.probability * self.infill.rate if self.infill and task.task.keeps_order else 0.0

        most = max(self.tasks, key=fraction)
        return most if fraction(most) > 0 else None


_PARSED: dict[str, Objective] = {}


def _checked_tasks(config: ObjectiveConfig) -> tuple[tuple[WeightedTask, ...], tuple[Stage, ...]]:
    """Return the tasks with a positive probability in any stage, and the stages (empty if there is only one)."""
    stages = _checked_stages(config)
    borders = [*(fraction for fraction, _ in stages), 1.0]
    tasks = []
    for label, chosen in config.tasks.items():
        parts = zip(stages, pairwise(borders), strict=True)
        mean = sum((end - start) * probability[label] for (_, probability), (start, end) in parts)
        where = f"objective.tasks.{label}"
        task, parameters = TASKS.checked(chosen.task, chosen.parameters, where, "task")
        noise = None
        if "noise" in parameters:
            noise = checked_noise(parameters["noise"], f"{where}.noise")
            parameters["noise"] = {"kind": noise[0].name, **noise[1]}
        whole = chosen.probability if len(stages) == 1 else mean
        tasks.append(WeightedTask(label, task, whole, parameters, chosen.mode, noise))
    drawn = tuple(task for task in tasks if task.probability > 0)
    if len(stages) == 1:
        return drawn, ()
    return drawn, tuple(Stage(start, tuple(by_label[task.label] for task in drawn)) for start, by_label in stages)


def _checked_stages(config: ObjectiveConfig) -> list[tuple[float, dict[str, float]]]:
    """Return where each stage begins, with each task's probability, without stages that change nothing."""
    first = {label: task.probability for label, task in config.tasks.items()}
    stages = [(0.0, "objective.tasks", first)]
    for number, stage in enumerate(config.stages):
        where = f"objective.stages.{number}"
        if unknown := [label for label in stage.probabilities if label not in first]:
            raise UsageError(
                f"{where}.probabilities.{unknown[0]}: the objective has no such task. {nearest(unknown[0], first)}"
            )
        stages.append((stage.from_fraction, f"{where}.probabilities", dict.fromkeys(first, 0.0) | stage.probabilities))
    for _, where, by_label in stages:
        total = sum(by_label.values())
        if abs(total - 1) > 1e-9:
            weights = ", ".join(f"{label} {probability:g}" for label, probability in by_label.items()) or "no task"
            raise UsageError(f"{where}: the probabilities must sum to 1; given {weights}, which is {total:g}.")
    fractions = [fraction for fraction, _, _ in stages]
    if fractions != sorted(set(fractions)):
        listed = ", ".join(f"{fraction:g}" for fraction in fractions[1:])
        raise UsageError(f"objective.stages: their from_fraction must rise; given {listed}.")
    changes = [stages[0], *(after for before, after in pairwise(stages) if after[2] != before[2])]
    return [(fraction, by_label) for fraction, _, by_label in changes]


@dataclass(frozen=True)
class RowTransform:
    """Makes the rows of an objective: infill where the task keeps the text's order, then the task, per segment.

    Attributes:
        special: ids that transforms write.
        splitter: splits text inside of tokens; None where the tokenizer cannot.
        data_seed: with the row's number, the key of every draw.
        budget_rows: rows of the whole budget, of which the objective's stages name fractions.
    """

    objective: Objective
    special: SpecialTokens
    data_seed: int
    splitter: TokenSplitter | None = None
    budget_rows: int = 1

    def example(
        self, row: int, tokens_T: Tokens, document_tokens: tuple[int, ...], read_at: int | None = None
    ) -> tuple[Example, int]:
        """Return a row's example and the index of its task: pure in (data_seed, row, tokens, stage).

        Args:
            row: number of the row.
            tokens_T: the window.
            document_tokens: lengths of the window's document segments.
            read_at: the row whose stage applies, where `row` is an earlier one whose draws are repeated; None: `row`.
        """
        index = self._task_index(row, row if read_at is None else read_at)
        task = self.objective.tasks[index]
        segments = [tokens_T] if task.merges_documents else _segments(tokens_T, document_tokens)
        if self.objective.infill is not None and task.task.keeps_order:
            segments = self._infilled(row, tokens_T, segments)
        rng = keyed_rng(self.data_seed, row, task.task.name)
        return Example.concatenate([task.example(segment_T, rng, self.special) for segment_T in segments]), index

    def _infilled(self, row: int, tokens_T: Tokens, segments: list[Tokens]) -> list[Tokens]:
        """Return the segments of a row after infill; with `scope: context` a row in which something moved is one."""
        infill, rng = self.objective.infill, keyed_rng(self.data_seed, row, "infill")
        assert infill is not None
        if infill.merges_documents:
            moved_T = infill(tokens_T, rng, self.special, self.splitter)
            return segments if moved_T is None else [moved_T]
        moved = [infill(segment_T, rng, self.special, self.splitter) for segment_T in segments]
        return [segment_T if new_T is None else new_T for segment_T, new_T in zip(segments, moved, strict=True)]

    @cached_property
    def _upper_bounds(self) -> list[tuple[float, NDArray[np.float64]]]:
        """First row of each stage, and the upper bound of each task's interval of [0, 1) in it, except the last."""
        stages = self.objective.stages or (Stage(0.0, tuple(task.probability for task in self.objective.tasks)),)
        return [(stage.from_fraction * self.budget_rows, np.cumsum(stage.probabilities)[:-1]) for stage in stages]

    def _task_index(self, row: int, read_at: int) -> int:
        if len(self.objective.tasks) == 1:
            return 0
        upper_bounds = next(bounds for first, bounds in reversed(self._upper_bounds) if read_at >= first)
        return int(np.searchsorted(upper_bounds, keyed_rng(self.data_seed, row, "task").random(), side="right"))


def _segments(tokens_T: Tokens, document_tokens: tuple[int, ...]) -> list[Tokens]:
    bounds = accumulate(document_tokens, initial=0)
    return [tokens_T[first:last] for first, last in pairwise(bounds)]
