"""What training costs, counted by the shape of what is computed.

A product of (n, a) and (a, b) is 2·n·a·b operations forward and twice that backward. Embedding look-ups, norms,
softmax and rotary turns are not counted.
"""

from ablate.config import ScaleConfig
from ablate.model.decoder import Decoder


def training_flops(
    decoder: Decoder, scale: ScaleConfig, *, input_tokens: int, loss_tokens: int, attended_pairs: int
) -> float:
    """Forward and backward operations.

    Args:
        decoder: for the number of weights in its layers and its head.
        scale: for layers and width.
        input_tokens: positions that pass the layers.
        loss_tokens: positions that pass the head: only those with a target do.
        attended_pairs: visible pairs; each costs 2 · width for its score and as much for its value, per layer.
    """
    layer_weights = sum(weight.numel() for weight in decoder.blocks.parameters() if weight.ndim > 1)
    head_weights = decoder.head.weight.numel()
    products = 6.0 * (layer_weights * input_tokens + head_weights * loss_tokens)
    return products + 12.0 * scale.layers * scale.width * attended_pairs
