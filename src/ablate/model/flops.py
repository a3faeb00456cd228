"""What training costs, counted by the shape of what is computed.

A product of (n, a) and (a, b) is 2·n·a·b operations forward and twice that backward. Embedding look-ups, norms,
softmax and rotary turns are not counted.
"""

from collections.abc import Iterable

from torch import nn

from ablate.model.blocks import CrossAttention
from ablate.model.build import Model
from ablate.model.encoder_decoder import EncoderDecoder


def training_flops(
    model: Model,
    *,
    decoder_tokens: int,
    loss_tokens: int,
    decoder_pairs: int,
    encoder_tokens: int = 0,
    encoder_pairs: int = 0,
    cross_pairs: int = 0,
) -> float:
    """Forward and backward operations.

    Args:
        model: for the weights of its layers and its head.
        decoder_tokens: positions that pass the layers.
        loss_tokens: positions that pass the head: only those with a target do.
        decoder_pairs: visible pairs; each costs 2 · width for its score and as much for its value, per layer.
        encoder_tokens: positions that pass the encoder's layers and become keys and values in each of the decoder's.
        encoder_pairs: visible pairs within the encoder.
        cross_pairs: pairs of a decoder's position and an encoder's.
    """
    decoder_weights = _matrix_weights(model.blocks)
    weights_passed = model.head.weight.numel() * loss_tokens
    pairs = len(model.blocks) * (decoder_pairs + cross_pairs)
    if isinstance(model, EncoderDecoder):
        crosses = [module for module in model.blocks.modules() if isinstance(module, CrossAttention)]
        key_values = _matrix_weights(cross.key_value for cross in crosses)
        decoder_weights -= key_values
        weights_passed += (_matrix_weights(model.encoder_blocks) + key_values) * encoder_tokens
        pairs += len(model.encoder_blocks) * encoder_pairs
    weights_passed += decoder_weights * decoder_tokens
    return 6.0 * weights_passed + 12.0 * model.embedding.embedding_dim * pairs


def _matrix_weights(modules: Iterable[nn.Module]) -> int:
    return sum(weight.numel() for module in modules for weight in module.parameters() if weight.ndim > 1)
