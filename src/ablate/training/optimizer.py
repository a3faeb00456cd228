"""The optimizer of a trial: a function for each kind.

Every parameter group has a `rate_multiplier`: its learning rate is the schedule's times that (1 without muP).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, optim

from ablate.config.training import OptimizerConfig
from ablate.model.build import Model


def make_optimizer(model: Model, config: OptimizerConfig) -> optim.Optimizer:
    """Build the configured optimizer of a model's parameters."""
    return OPTIMIZERS[config.kind](model, config)


def adamw(model: Model, config: OptimizerConfig) -> optim.AdamW:
    """Build AdamW with decoupled weight decay on matrices; norms and biases do not decay.

    Under muP the blocks' matrices are a third group (Yang et al. 2022, table 8): their learning rate is divided by the
    width multiplier, and their decay multiplied by it, so that a step decays them as much.
    """
    width = model.width_multiplier
    hidden = [] if width == 1 else _hidden_matrices(model)
    groups = _groups(model, config, apart=hidden)
    if hidden:
        groups.append(_group(hidden, config.weight_decay * width, 1 / width))
    return _adamw(groups, config)


def muon(model: Model, config: OptimizerConfig) -> optim.Optimizer:
    """Build Muon for the blocks' matrices (Jordan et al. 2024), and AdamW for embedding, head, norms and biases.

    A step is scaled to the size of AdamW's (Liu et al. 2025), so a learning rate and weight decay tuned for AdamW are a
    good start. The matrix of queries, keys and values is orthogonalised as a whole. The spectral norm of such a step
    grows with the root of the width, which the learning rate is divided by under muP.
    """
    assert config.momentum is not None, "a rule of the configuration"
    root = model.width_multiplier**0.5
    hidden = _hidden_matrices(model)
    return Joined(
        optim.Muon(
            [_group(hidden, config.weight_decay * root, 1 / root)],
            lr=config.learning_rate,
            momentum=config.momentum,
            adjust_lr_fn="match_rms_adamw",
        ),
        _adamw(_groups(model, config, apart=hidden), config),
    )


OPTIMIZERS: dict[str, Callable[[Model, OptimizerConfig], optim.Optimizer]] = {"adamw": adamw, "muon": muon}


class Joined(optim.Optimizer):
    """Several optimizers of different parameters as one, with the parameter groups and the state of all."""

    def __init__(self, *parts: optim.Optimizer) -> None:
        self._parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})
        # One mapping, whose entries a checkpoint restores in place.
        for part in parts:
            part.state = self.state

    def step(self, closure: Any = None) -> Any:
        """Take a step of each part, after the closure."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss


def _hidden_matrices(model: Model) -> list[Tensor]:
    return [weight for block in model.all_blocks() for weight in block.parameters() if weight.ndim > 1]


def _groups(model: Model, config: OptimizerConfig, apart: Iterable[Tensor]) -> list[dict[str, Any]]:
    """Return the groups of the matrices that are not apart, and of norms and biases, which do not decay."""
    others = set(apart)
    matrices = [weight for weight in model.parameters() if weight.ndim > 1 and weight not in others]
    vectors = [weight for weight in model.parameters() if weight.ndim <= 1]
    return [_group(matrices, config.weight_decay), _group(vectors, 0.0)]


def _group(weights: Sequence[Tensor], weight_decay: float, rate_multiplier: float = 1.0) -> dict[str, Any]:
    return {"params": list(weights), "weight_decay": weight_decay, "rate_multiplier": rate_multiplier}


def _adamw(groups: list[dict[str, Any]], config: OptimizerConfig) -> optim.AdamW:
    betas = (config.beta1, config.beta2)
    return optim.AdamW(groups, lr=config.learning_rate, betas=betas, eps=config.eps, fused=True)
