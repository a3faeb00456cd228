"""How the ranks of a trial train together: each a whole model (ddp), or each a part of one (fsdp)."""

from typing import Literal

import psutil
import torch

from ablate.config.trial import TrialConfig
from ablate.errors import UsageError
from ablate.model.build import Model
from ablate.ranks import Ranks

StrategyName = Literal["single", "ddp", "fsdp"]
# Weights, gradients and AdamW's two moments, in fp32. Activations come on top.
BYTES_PER_PARAMETER = 16
# Of a device's memory, for parameters; the rest is for activations.
PARAMETER_FRACTION = 0.7


def choose_strategy(trial: TrialConfig, model: Model, ranks: Ranks) -> StrategyName:
    """Return the strategy that was asked for or, with `auto`, one that the model fits.

    Raises:
        UsageError: the model does not fit the strategy.
    """
    hardware, count = trial.hardware, ranks.rank.count
    needed = BYTES_PER_PARAMETER * sum(weight.numel() for weight in model.parameters())
    # One answer on all ranks, also where their machines differ.
    room = PARAMETER_FRACTION * min(ranks.gather(_device_bytes(trial, ranks)))
    if hardware.strategy == "auto":
        strategy: StrategyName = "single" if count == 1 else "ddp" if needed <= room else "fsdp"
    else:
        strategy = hardware.strategy
    share = needed / count if strategy == "fsdp" else needed
    if share > room:
        advice = "hardware.strategy=fsdp" if strategy == "ddp" else "more devices, or a smaller scale"
        raise UsageError(
            f"hardware.strategy={strategy}: weights, gradients and moments take {share / 1e9:.1f} GB on each of "
            f"{count} devices, which have room for {room / 1e9:.1f} GB. Take {advice}."
        )
    return strategy


def _device_bytes(trial: TrialConfig, ranks: Ranks) -> float:
    """Return the memory of this rank's device; on a CPU, its part of the machine's."""
    accelerator = trial.hardware.accelerator
    if accelerator == "gpu" or (accelerator == "auto" and torch.cuda.is_available()):
        return float(torch.cuda.get_device_properties(ranks.rank.local).total_memory)
    return psutil.virtual_memory().total / ranks.rank.local_count
