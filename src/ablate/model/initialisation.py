"""Parameters drawn by name, so that arms that share a tensor start from the same values."""

import hashlib

import torch
from torch import nn


def initialise(model: nn.Module, init_seed: int, *, std: float) -> None:
    """Fills every parameter from (init_seed, its name): matrices normal with `std`, norms one, biases zero.

    As CodeGen, GPT-J and Llama do it; no depth scaling of the residual projections.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                digest = hashlib.blake2b(f"{init_seed}\x1f{name}".encode(), digest_size=8).digest()
                generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
