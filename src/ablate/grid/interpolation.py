"""What YAML may compute: `${tokens_per_parameter:20}`, a budget that follows from the scale."""

from typing import Any

from omegaconf import OmegaConf

from ablate.config.trial import decoder_weights


def tokens_per_parameter(ratio: float, *, _root_: Any) -> int:
    """Return train tokens: `ratio` for each weight in the matrices of a decoder of the configuration's shape.

    The shape is that of the arm, so each arm of a grid over scales gets its own budget, and all architectures of one
    scale get the same.
    """
    # Not typed yet: Hydra composes it.
    weights = decoder_weights(_root_.scale, _root_.block, _root_.tokenizer.vocab_size)
    return round(ratio * weights)


def register() -> None:
    """Make the functions known to OmegaConf."""
    OmegaConf.register_new_resolver("tokens_per_parameter", tokens_per_parameter, replace=True)
