"""Find the settings with which a step fits into a device's memory. They change no result."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ablate.config.trial import TrialConfig
from ablate.model.memory import fitting_strategy

CHECKPOINTING: tuple[Literal["none", "selective", "full"], ...] = ("none", "selective", "full")


@dataclass(frozen=True)
class Remedy:
    """Settings to add to a command.

    Attributes:
        micro_batch_rows: None leaves it.
        activation_checkpointing: None leaves it.
        shards: whether to take `hardware.strategy=fsdp`.
    """

    micro_batch_rows: int | None = None
    activation_checkpointing: Literal["none", "selective", "full"] | None = None
    shards: bool = False

    def __str__(self) -> str:
        """The words to type."""
        words = {
            "hardware.micro_batch_rows": self.micro_batch_rows,
            "scale.activation_checkpointing": self.activation_checkpointing,
            "hardware.strategy": "fsdp" if self.shards else None,
        }
        return " ".join(f"{key}={value}" for key, value in words.items() if value is not None)

    def on(self, trial: TrialConfig) -> TrialConfig:
        """Return the trial with these settings."""
        hardware: dict[str, Any] = {}
        if self.micro_batch_rows is not None:
            hardware["micro_batch_rows"] = self.micro_batch_rows
        if self.shards:
            hardware["strategy"] = "fsdp"
        scale = trial.scale
        if self.activation_checkpointing is not None:
            scale = replace(scale, activation_checkpointing=self.activation_checkpointing)
        return replace(trial, scale=scale, hardware=replace(trial.hardware, **hardware))


def remedy(arms: Mapping[str, Sequence[TrialConfig]], room_bytes: float) -> Remedy | None:
    """Return the first settings with which a step of every arm fits; None where none do.

    It tries fewer rows in a micro-batch, then selective and full checkpointing with as many rows as fit, then
    sharding. The command has one value for all arms, so each setting is tried on all of them.

    Args:
        arms: label → its trials, which have one shape.
        room_bytes: memory of a device.
    """
    trials = [of_arm[0] for of_arm in arms.values() if of_arm]
    return next(
        (each for each in _remedies(trials) if all(_fits(each.on(trial), room_bytes) for trial in trials)), None
    )


def _fits(trial: TrialConfig, room_bytes: float) -> bool:
    _, memory = fitting_strategy(trial, devices=trial.hardware.ranks, room_bytes=room_bytes)
    return memory.total <= room_bytes


def _remedies(trials: Sequence[TrialConfig]) -> Iterator[Remedy]:
    """Yield the mildest first; the first one changes nothing."""
    least = min(CHECKPOINTING.index(trial.scale.activation_checkpointing) for trial in trials)
    hardware = [trial.hardware for trial in trials]
    # `auto` shards by itself.
    can_shard = all(each.ranks > 1 and each.strategy == "ddp" for each in hardware)
    rows = max(
        min(-(-trial.budget.rows_per_step // trial.hardware.ranks), trial.hardware.micro_batch_rows or 2**62)
        for trial in trials
    )
    for shards in (False, True) if can_shard else (False,):
        for level in (None, *CHECKPOINTING[least + 1 :]):
            yield Remedy(None, level, shards)
            fewer = rows
            while fewer > 1:
                fewer = -(-fewer // 2)
                yield Remedy(fewer, level, shards)
