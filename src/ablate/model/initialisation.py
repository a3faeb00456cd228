"""Initial values, drawn by parameter name: arms that share a tensor start from the same values."""

import hashlib

import torch
from torch import nn


def initialise(model: nn.Module, init_seed: int, *, std: float) -> None:
    """Fill every parameter from (init_seed, name): matrices normal with `std`, norms one, biases zero.

    CodeGen, GPT-J and Llama do the same. Residual projections are not scaled by depth.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                digest = hashlib.blake2b(f"{init_seed}\x1f{name}".encode(), digest_size=8).digest()
                generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
