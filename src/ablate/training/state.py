"""Capture and restore a trial's training state: all that the next step depends on."""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from ablate.training.counters import Counters
from ablate.training.log import TrialLog
from ablate.training.module import TrialModule

State = dict[str, Any]


def captured(module: TrialModule, log: TrialLog) -> State:
    """Return the state after a step. Its tensors are not copied: the next step changes them.

    The learning rate and the next rows are functions of the counters, so they have no state of their own.
    """
    optimizer = module.optimizers(use_pl_optimizer=False)
    assert isinstance(optimizer, torch.optim.Optimizer)
    return {
        "counters": asdict(module.counters),
        "model": module.model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "divergence": module.divergence.state(),
        "log": log.state(),
        "random": {
            "cpu": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        },
    }


def restore(state: State, module: TrialModule, log: TrialLog) -> None:
    """Restore a state, in a trainer whose optimizer exists."""
    module.counters = Counters(**state["counters"])
    module.model.load_state_dict(state["model"])
    optimizer = module.optimizers(use_pl_optimizer=False)
    assert isinstance(optimizer, torch.optim.Optimizer)
    optimizer.load_state_dict(state["optimizer"])
    module.divergence.restore(state["divergence"])
    log.restore(state["log"])
    torch.set_rng_state(state["random"]["cpu"])
    if state["random"]["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["random"]["cuda"])


def snapshot(state: Any) -> Any:
    """Copy a state to main memory."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {name: snapshot(part) for name, part in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(snapshot(part) for part in state)
    return state


def size_bytes(state: Any) -> int:
    """Return the number of bytes of all tensors in a state."""
    if isinstance(state, Tensor):
        return state.nbytes
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return sum(size_bytes(part) for part in parts)
