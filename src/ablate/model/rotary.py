"""Rotary positions in GPT-J's interleaved form: neighbouring channels form a pair.

Shapes: `B` rows, `T` positions, `H` heads, `D` head width, `R` rotary width ≤ D.
"""

import torch
from torch import Tensor

Angles = tuple[Tensor, Tensor]


def rotary_angles(position_BT: Tensor, rotary_width: int, base: float) -> Angles:
    """Return sine and cosine per position and pair of channels, (B, 1, T, R / 2) each, in fp32.

    Pair p rotates by `base` to the power of −2p / R per position (Su et al. 2021, section 3.2.2).
    """
    exponents = torch.arange(0, rotary_width, 2, device=position_BT.device, dtype=torch.float32) / rotary_width
    angles = position_BT[:, None, :, None].float() * base**-exponents
    return angles.sin(), angles.cos()


def rotate(heads_BHTD: Tensor, sine: Tensor, cosine: Tensor) -> Tensor:
    """Rotate the first R channels of each head by their angles; the others are unchanged."""
    rotary_width = 2 * sine.shape[-1]
    rotated, unchanged = heads_BHTD[..., :rotary_width], heads_BHTD[..., rotary_width:]
    even, odd = rotated[..., 0::2], rotated[..., 1::2]
    pairs = torch.stack([even * cosine - odd * sine, odd * cosine + even * sine], dim=-1)
    return torch.cat([pairs.flatten(-2).to(heads_BHTD.dtype), unchanged], dim=-1)
