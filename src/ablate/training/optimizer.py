"""The optimizer of a trial."""

from torch import optim

from ablate.config.training import OptimizerConfig
from ablate.model.build import Model


def adamw(model: Model, config: OptimizerConfig) -> optim.AdamW:
    """Build AdamW with decoupled weight decay on matrices; norms and biases do not decay.

    Under muP the blocks' matrices are a third group (Yang et al. 2022, table 8): their learning rate is divided by the
    width multiplier, see `rate_multipliers`, and their decay multiplied by it, so that a step decays them as much.
    """
    width = model.width_multiplier
    hidden = [] if width == 1 else [weight for block in model.all_blocks() for weight in block.parameters()]
    hidden = [weight for weight in hidden if weight.ndim > 1]
    apart = set(hidden)
    matrices = [weight for weight in model.parameters() if weight.ndim > 1 and weight not in apart]
    others = [weight for weight in model.parameters() if weight.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if hidden:
        groups.append({"params": hidden, "weight_decay": config.weight_decay * width})
    return optim.AdamW(
        groups,
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        fused=True,
    )


def rate_multipliers(model: Model) -> tuple[float, ...]:
    """Return what each group's learning rate is multiplied by."""
    return (1.0, 1.0) if model.width_multiplier == 1 else (1.0, 1.0, 1 / model.width_multiplier)
