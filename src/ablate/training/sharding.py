"""Shard a model over its ranks (FSDP2), and gather what is sharded."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from ablate.config.trial import TrialConfig
from ablate.model.build import Model
from ablate.ranks import Ranks


def shard(model: Model, mesh: DeviceMesh, trial: TrialConfig) -> None:
    """Shard a model's parameters in place, over a mesh of one dimension.

    Blocks are the units that are gathered one by one. Embedding, last norm and head are in the root unit: the head is
    used by `loss` and `score`, outside of any submodule's forward. Parameters stay fp32; with `precision: bf16` they
    are gathered and multiplied in bf16, and gradients are reduced in fp32.
    """
    if isinstance(model, FSDPModule):
        return
    narrow = torch.bfloat16 if trial.precision == "bf16" else None
    # Inputs stay as they are: rotary angles in bf16 would lose the positions.
    policy = MixedPrecisionPolicy(param_dtype=narrow, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for block in model.all_blocks():
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    if narrow is not None:
        # As under autocast, sums over layers stay fp32.
        model.embedding.register_forward_hook(_in_fp32)
    for method in ("loss", "score", "read_prompt", "read_tokens"):
        register_fsdp_forward_method(model, method)


def load_whole(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load weights that are in one piece into a model that may be sharded: each rank takes its own part.

    Raises:
        RuntimeError: the weights have other names or shapes.
    """
    parts = {}
    for name, value in model.state_dict().items():
        if name in weights and isinstance(value, DTensor):
            parts[name] = distribute_tensor(
                weights[name].to(value.device, value.dtype), value.device_mesh, value.placements, src_data_rank=None
            )
    model.load_state_dict({**weights, **parts})


def _in_fp32(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
    return output.float()


def reshard(model: nn.Module) -> None:
    """Free the gathered parameters of a sharded model: after scoring, no backward pass does."""
    if isinstance(model, FSDPModule):
        model.reshard()


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor that may be sharded in one piece. Every rank takes part."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_state(model: nn.Module, ranks: Ranks) -> dict[str, Tensor]:
    """Return a model's weights in main memory on rank 0, the same from any strategy; others get an empty dictionary."""
    weights = {}
    for name, value in model.state_dict().items():
        # One by one: a device need not hold all of them.
        tensor = whole(value)
        if ranks.is_first:
            weights[name] = tensor.cpu()
    return weights
