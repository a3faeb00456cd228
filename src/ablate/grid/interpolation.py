"""What YAML may compute: `${tokens_per_parameter:20}`, a budget that follows from the scale."""

from typing import Any

from omegaconf import OmegaConf


def tokens_per_parameter(ratio: float, *, _root_: Any) -> int:
    """Return train tokens: `ratio` for each weight in the matrices of a decoder of the configuration's shape.

    The shape is that of the arm, so each arm of a grid over scales gets its own budget, and all architectures of one
    scale get the same.
    """
    scale, block = _root_.scale, _root_.block
    head_width = scale.d_model // scale.n_heads
    heads = scale.n_heads + 2 * (block.key_value_heads or scale.n_heads)
    # As `TrialConfig.mlp_width`.
    mlp_width = round(block.mlp_ratio * scale.d_model / 8) * 8
    per_layer = heads * head_width + scale.d_model + (3 if block.kind == "llama" else 2) * mlp_width
    width = scale.n_layers * per_layer + 2 * _root_.tokenizer.vocab_size
    tokens: int = round(ratio * scale.d_model * width)
    return tokens


def register() -> None:
    """Make the functions known to OmegaConf."""
    OmegaConf.register_new_resolver("tokens_per_parameter", tokens_per_parameter, replace=True)
