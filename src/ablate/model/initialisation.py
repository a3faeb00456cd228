"""Initial values, drawn by parameter name: arms that share a tensor start from the same values, at any sharding.

A scheme is a function `(name, shape, …) -> Spread` of a matrix's name and shape: rows × columns, as torch stores them.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


@dataclass(frozen=True)
class Spread:
    """A normal distribution around 0.

    Attributes:
        std: its standard deviation.
        is_truncated: whether values beyond two of them are drawn again.
    """

    std: float
    is_truncated: bool = False


Scheme = Callable[[str, torch.Size], Spread]
# Projections whose output is added to the residual stream.
RESIDUAL = ("attention_out.weight", "mlp_out.weight", "cross.out.weight")


def normal(*, std: float, block_std: float) -> Scheme:
    """Return the scheme of the transformers classes: one width for all, and `block_std` for blocks under muP."""
    return lambda name, shape: Spread(block_std if name.split(".")[0].endswith("blocks") else std)


def codegen(*, layers: int) -> Scheme:
    """Return the scheme of CodeGen's training code: 1/√fan-in, a truncated normal.

    Projections into the residual stream take (2/layers)/√width, the embedding 1/√vocabulary.
    """

    def spread(name: str, shape: torch.Size) -> Spread:
        rows, columns = shape
        if name.startswith("embedding"):
            return Spread(rows**-0.5, is_truncated=True)
        is_residual = name.endswith(RESIDUAL)
        return Spread(2 / layers / rows**0.5 if is_residual else columns**-0.5, is_truncated=True)

    return spread


def initialise(model: nn.Module, init_seed: int, scheme: Scheme) -> None:
    """Fill every parameter from (init_seed, name): matrices by the scheme, norms one, biases zero.

    A sharded parameter gets its part of the values that one device draws: each rank draws the whole tensor, one at a
    time, and sends nothing.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                digest = hashlib.blake2b(f"{init_seed}\x1f{name}".encode(), digest_size=8).digest()
                generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
                # On the host, wherever the parameter is: every device gets the same numbers.
                _fill(parameter, _drawn(parameter.shape, scheme(name, parameter.shape), generator))
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)


def _drawn(shape: torch.Size, spread: Spread, generator: torch.Generator) -> Tensor:
    if not spread.is_truncated:
        return torch.randn(shape, generator=generator, device="cpu").mul_(spread.std)
    values = torch.empty(shape, device="cpu")
    return nn.init.trunc_normal_(values, 0.0, spread.std, -2 * spread.std, 2 * spread.std, generator)


def _fill(parameter: nn.Parameter, values: Tensor) -> None:
    if isinstance(parameter, DTensor):
        # Without a source rank each rank takes its own part of its own tensor.
        shard = distribute_tensor(values, parameter.device_mesh, parameter.placements, src_data_rank=None)
        parameter.to_local().copy_(shard.to_local())
    else:
        parameter.copy_(values)
