"""How the ranks of a trial train together: each a whole model (ddp), or each a part of one (fsdp)."""

import psutil
import torch

from ablate.config.trial import TrialConfig
from ablate.errors import UsageError
from ablate.model.memory import StrategyName, fitting_strategy
from ablate.ranks import Ranks


def choose_strategy(trial: TrialConfig, ranks: Ranks) -> StrategyName:
    """Return the strategy that was asked for or, with `auto`, one that the model fits.

    A strategy that was asked for is checked on GPUs alone: the memory of a machine has other users and can be swapped.

    Raises:
        UsageError: the model does not fit the strategy.
    """
    count, strategy = ranks.rank.count, trial.hardware.strategy
    if strategy == "auto" and count == 1:
        return "single"
    if strategy != "auto" and (count == 1 or not uses_gpu(trial)):
        return strategy
    # One answer on all ranks, also where their devices differ.
    room = min(ranks.gather(_device_bytes(trial, ranks)))
    name = ranks.on_first(lambda: _that_fits(trial, count, room))
    assert name is not None
    return name


def _that_fits(trial: TrialConfig, count: int, room: float) -> StrategyName:
    name, memory = fitting_strategy(trial, devices=count, room_bytes=room)
    if memory.total <= room:
        return name
    strategy = trial.hardware.strategy
    others = "hardware.strategy=fsdp, " if strategy == "ddp" else ""
    raise UsageError(
        f"hardware.strategy={strategy}: a step takes about {memory.total / 1e9:.1f} GB on each of {count} devices, "
        f"which have {room / 1e9:.1f} GB. Take {others}a smaller hardware.micro_batch_rows, more devices, "
        "scale.activation_checkpointing=full, or a smaller scale."
    )


def uses_gpu(trial: TrialConfig) -> bool:
    """Whether each rank trains on a GPU."""
    accelerator = trial.hardware.accelerator
    return accelerator == "gpu" or (accelerator == "auto" and torch.cuda.is_available())


def _device_bytes(trial: TrialConfig, ranks: Ranks) -> float:
    """Return the memory of this rank's device; on a CPU, its part of the machine's."""
    if uses_gpu(trial):
        return float(torch.cuda.get_device_properties(ranks.rank.local).total_memory)
    return psutil.virtual_memory().total / ranks.rank.local_count
