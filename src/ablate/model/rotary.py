"""Rotary positions in GPT-J's interleaved form: neighbouring channels make a pair.

Shapes: `B` rows, `T` positions, `H` heads, `D` head width, `R` rotary width ≤ D.
"""

import torch
from torch import Tensor


def rotary_angles(position_BT: Tensor, rotary_width: int, base: float) -> tuple[Tensor, Tensor]:
    """Sine and cosine for each position and pair of channels, each (B, 1, T, R / 2), in fp32.

    Pair p turns by `base` to the power of −2p / R per position (Su et al. 2021, section 3.2.2).
    """
    exponents = torch.arange(0, rotary_width, 2, device=position_BT.device, dtype=torch.float32) / rotary_width
    angles = position_BT[:, None, :, None].float() * base**-exponents
    return angles.sin(), angles.cos()


def rotate(heads_BHTD: Tensor, sine: Tensor, cosine: Tensor) -> Tensor:
    """Turns the first R channels of each head by their angles; the others pass."""
    rotary_width = 2 * sine.shape[-1]
    turned, passed = heads_BHTD[..., :rotary_width], heads_BHTD[..., rotary_width:]
    even, odd = turned[..., 0::2], turned[..., 1::2]
    pairs = torch.stack([even * cosine - odd * sine, odd * cosine + even * sine], dim=-1)
    return torch.cat([pairs.flatten(-2).to(heads_BHTD.dtype), passed], dim=-1)
