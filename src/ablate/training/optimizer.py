"""Optimizer and learning rate."""

import math

from torch import nn, optim

from ablate.config.trial import OptimizerConfig, ScheduleConfig


def adamw(model: nn.Module, config: OptimizerConfig) -> optim.AdamW:
    """Build AdamW with decoupled weight decay on matrices; norms and biases do not decay."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return optim.AdamW(
        [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        fused=True,
    )


def learning_rate(peak: float, config: ScheduleConfig, budget_tokens: float) -> float:
    """Return the rate after `budget_tokens` of the budget.

    Linear warm-up to the peak, cosine decay to `final_fraction` of it at `decay_tokens`, constant after that.
    """
    warmup_tokens = config.warmup_fraction * config.decay_tokens
    if budget_tokens < warmup_tokens:
        return peak * budget_tokens / warmup_tokens
    progress = (budget_tokens - warmup_tokens) / (config.decay_tokens - warmup_tokens)
    decay = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return peak * (config.final_fraction + (1 - config.final_fraction) * decay)
