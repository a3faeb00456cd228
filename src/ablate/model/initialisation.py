"""Initial values, drawn by parameter name: arms that share a tensor start from the same values, at any sharding."""

import hashlib

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


def initialise(model: nn.Module, init_seed: int, *, std: float, block_std: float) -> None:
    """Fill every parameter from (init_seed, name): matrices normal with `std`, norms one, biases zero.

    Matrices of blocks take `block_std`, which differs from `std` under muP.

    CodeGen, GPT-J and Llama do the same. Residual projections are not scaled by depth. A sharded parameter gets its
    part of the values that one device draws: each rank draws the whole tensor, one at a time, and sends nothing.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                digest = hashlib.blake2b(f"{init_seed}\x1f{name}".encode(), digest_size=8).digest()
                generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
                # On the host, wherever the parameter is: every device gets the same numbers.
                values = torch.randn(parameter.shape, generator=generator, device="cpu")
                _fill(parameter, values.mul_(block_std if name.split(".")[0].endswith("blocks") else std))
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)


def _fill(parameter: nn.Parameter, values: Tensor) -> None:
    if isinstance(parameter, DTensor):
        # Without a source rank each rank takes its own part of its own tensor.
        shard = distribute_tensor(values, parameter.device_mesh, parameter.placements, src_data_rank=None)
        parameter.to_local().copy_(shard.to_local())
    else:
        parameter.copy_(values)
