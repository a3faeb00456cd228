"""Training FLOPs, counted from the shapes of matrix products.

A product of (n, a) and (a, b) is 2·n·a·b operations forward and twice that backward. Embedding look-ups, norms,
softmax and rotary positions are not counted.
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
    """Count forward and backward operations. The arguments are those of `ComputeCounts`.

    Args:
        model: gives the number of weights.
        decoder_tokens: positions that pass the decoder's layers.
        loss_tokens: positions that pass the head: those with a target.
        decoder_pairs: pairs of query and key; each costs 2 · width for its score and as much for its value, per layer.
        encoder_tokens: positions that pass the encoder's layers and are keys and values in each layer of the decoder.
        encoder_pairs: pairs of query and key in the encoder.
        cross_pairs: pairs of a query in the decoder and a key in the encoder.
    """
    decoder_weights = _matrix_weights(model.blocks)
    products = model.head.weight.numel() * loss_tokens
    pairs = len(model.blocks) * (decoder_pairs + cross_pairs)
    if isinstance(model, EncoderDecoder):
        cross_attentions = [module for module in model.blocks.modules() if isinstance(module, CrossAttention)]
        key_values = _matrix_weights(cross.key_value for cross in cross_attentions)
        decoder_weights -= key_values
        products += (_matrix_weights(model.encoder_blocks) + key_values) * encoder_tokens
        pairs += len(model.encoder_blocks) * encoder_pairs
    products += decoder_weights * decoder_tokens
    return 6.0 * products + 12.0 * model.embedding.embedding_dim * pairs


def _matrix_weights(modules: Iterable[nn.Module]) -> int:
    return sum(weight.numel() for module in modules for weight in module.parameters() if weight.ndim > 1)
