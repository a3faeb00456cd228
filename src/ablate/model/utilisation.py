"""Model FLOPs utilisation (MFU): the part of a device's peak rate that a trial's operations take, in two conventions.

*Visible pairs* counts what `flops.training_flops` counts: attention between pairs that attend to each other, and the
head at targets with loss. *All pairs* is how papers count (Chowdhery et al. 2022, appendix B): each token attends to
its whole row and passes the head. It is higher by what a causal mask hides: about 6% at 1B and 2 048 tokens.
"""

import torch

from ablate.data.batches.compute_counts import ComputeCounts
from ablate.model.build import Model
from ablate.model.encoder_decoder import EncoderDecoder
from ablate.model.flops import training_flops
from ablate.model.peak_flops import peak_flops


def device_peak_flops(device: torch.device, precision: str) -> float | None:
    """Return the peak rate of this process's device; None if unknown, as for every CPU."""
    return peak_flops(torch.cuda.get_device_name(device), precision) if device.type == "cuda" else None


def all_pairs_flops(model: Model, *, tokens: int, row_tokens: float) -> float | None:
    """Count a step's operations as papers do; None for an encoder-decoder, for which they have no convention.

    Args:
        model: gives the number of weights.
        tokens: input tokens.
        row_tokens: tokens of a row, which each of them attends to.
    """
    if isinstance(model, EncoderDecoder):
        return None
    counts = ComputeCounts(decoder_tokens=tokens, loss_tokens=tokens, decoder_pairs=round(tokens * row_tokens))
    return training_flops(model, **vars(counts))
