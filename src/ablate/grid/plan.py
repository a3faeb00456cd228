"""What the missing trials of a grid will take: tokens, FLOPs, memory, device hours and disk, before anything runs."""

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ablate.config.trial import TrialConfig
from ablate.grid.grid import Grid
from ablate.grid.hours import Hours, Speeds
from ablate.model.memory import BYTES, TrainingMemory, fitting_strategy
from ablate.model.size import ModelSize, model_size

# Main memory of a GPU in bytes, as its name in `peak_flops.PEAK_FLOPS` is sold: the larger A100.
DEVICE_BYTES = {"A100": 80e9, "H100": 80e9, "H200": 141e9, "B200": 180e9}


@dataclass(frozen=True)
class Range:
    """The lowest, expected and highest amount."""

    low: float
    expected: float
    high: float


@dataclass(frozen=True)
class ArmPlan:
    """What the missing trials of one arm take.

    Attributes:
        trials: number of missing trials.
        train_tokens: of all of them.
        flops: of all of them, as `model.flops` counts, if every row is one causal segment of
            `scale.window_tokens` with loss everywhere.
        memory: bytes per device by part.
        strategy: `single`, `ddp` or `fsdp`.
        fits: whether a device has that memory; None where the device is not known.
        hours: device hours of all of them; None where neither ledger, measurement nor device tells the speed.
        price: US dollars of these hours; None where the price or the hours are not known.
        checkpoint_bytes: most on disk while one trial runs: `checkpoint.keep_last` and one that is being written.
        model_bytes: what a finished trial keeps.
    """

    label: str
    trials: int
    parameters: int
    train_tokens: int
    flops: float
    memory: TrainingMemory
    strategy: str
    fits: bool | None
    hours: Hours | None
    price: Range | None
    checkpoint_bytes: int
    model_bytes: int


@dataclass(frozen=True)
class Disk:
    """Bytes on disk of the missing trials; logs and scores are small beside them.

    Attributes:
        kept: model.pt of every trial.
        peak: these, and the checkpoints of the largest trials that run at once.
    """

    kept: int
    peak: int


@dataclass(frozen=True)
class _Shape:
    """What trials of one shape need.

    Attributes:
        moment_bytes: of the optimizer's moments, of all devices together.
    """

    size: ModelSize
    moment_bytes: int
    strategy: str
    memory: TrainingMemory


class Planner:
    """Plans arms; each shape is looked at once.

    Args:
        speeds: tells the hours.
        device: a name in `DEVICE_BYTES`; None if not known.
    """

    def __init__(self, speeds: Speeds, device: str | None) -> None:
        self.speeds = speeds
        self.room_bytes = DEVICE_BYTES[device] if device else None
        self._shapes: dict[str, _Shape] = {}

    def arms(self, trials: Mapping[str, Sequence[TrialConfig]]) -> tuple[ArmPlan, ...]:
        """Plan the trials of each arm, by its label; arms without trials are left out."""
        return tuple(self._arm(label, of_arm) for label, of_arm in trials.items() if of_arm)

    def _arm(self, label: str, trials: Sequence[TrialConfig]) -> ArmPlan:
        first, count = trials[0], len(trials)
        shape = self._shape(first)
        flops, tokens = count * first.budget_rows * shape.size.row_flops, count * first.budget.train_tokens
        hours = self.speeds.hours(first, shape.size.parameters, tokens, flops)
        model_bytes = BYTES * shape.size.parameters
        return ArmPlan(
            label=label,
            trials=count,
            parameters=shape.size.parameters,
            train_tokens=tokens,
            flops=flops,
            memory=shape.memory,
            strategy=shape.strategy,
            fits=None if self.room_bytes is None else shape.memory.total <= self.room_bytes,
            hours=hours,
            price=_price(first, hours),
            checkpoint_bytes=(first.checkpoint.keep_last + 1) * (model_bytes + shape.moment_bytes),
            model_bytes=model_bytes,
        )

    def _shape(self, trial: TrialConfig) -> _Shape:
        parts = (
            trial.architecture,
            trial.block,
            trial.scale,
            trial.tokenizer.vocab_size,
            trial.precision,
            trial.optimizer.kind,
        )
        key = repr((*parts, trial.hardware, trial.budget.rows_per_step))
        if key not in self._shapes:
            self._shapes[key] = self._looked_at(trial)
        return self._shapes[key]

    def _looked_at(self, trial: TrialConfig) -> _Shape:
        # On devices of unknown memory the first strategy is taken to fit.
        room = math.inf if self.room_bytes is None else self.room_bytes
        strategy, memory = fitting_strategy(trial, devices=trial.hardware.ranks, room_bytes=room)
        shards = trial.hardware.ranks if strategy == "fsdp" else 1
        return _Shape(model_size(trial), memory.optimizer * shards, strategy, memory)


def missing_trials(grid: Grid) -> dict[str, list[TrialConfig]]:
    """Return label → the trials that are missing at the grid's look."""
    missing: dict[str, list[TrialConfig]] = {}
    for cell in grid.missing().values():
        missing.setdefault(cell.arm.label, []).append(cell.trial)
    return missing


def total_hours(arms: Iterable[ArmPlan]) -> Range | None:
    """Return the device hours of all arms together; None if those of an arm are unknown."""
    return _total([arm.hours for arm in arms])


def total_price(arms: Iterable[ArmPlan]) -> Range | None:
    """Return the US dollars of all arms together; None if those of an arm are unknown."""
    return _total([arm.price for arm in arms])


def disk(arms: Sequence[ArmPlan], parallel: int | None) -> Disk:
    """Return what the trials of all arms take on disk.

    Args:
        parallel: how many run at once; None for all.
    """
    kept = sum(arm.trials * arm.model_bytes for arm in arms)
    running = [arm.checkpoint_bytes for arm in arms for _ in range(arm.trials)]
    return Disk(kept, kept + sum(heapq.nlargest(len(running) if parallel is None else parallel, running)))


def _total(amounts: Sequence[Hours | Range | None]) -> Range | None:
    known = [amount for amount in amounts if amount is not None]
    if len(known) < len(amounts):
        return None
    return Range(
        sum(each.low for each in known), sum(each.expected for each in known), sum(each.high for each in known)
    )


def _price(trial: TrialConfig, hours: Hours | None) -> Range | None:
    price = trial.hardware.price_per_device_hour
    return (
        None
        if price is None or hours is None
        else Range(*(price * each for each in (hours.low, hours.expected, hours.high)))
    )
