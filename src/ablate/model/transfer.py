"""Moving what the host has prepared to a device."""

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a copy on the device, or the tensor itself if it is there.

    From pinned memory, a GPU fetches it beside what it computes, and the host goes on.
    """
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
