"""Who sees whom, and attention under it.

The mask algebra, the only definition of visibility: position j is visible from position i when both lie in the same
segment (`document_BT`, 0 is padding) and j ≤ i or both lie in the same non-zero region (`region_BT`).

Shapes: `B` rows, `T` positions, `H` heads, `D` head width; `i` asks, `j` is asked.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


def visible_BTT(document_BT: Tensor, region_BT: Tensor) -> Tensor:
    """The dense matrix of the algebra: `[b, i, j]` is true where j is visible from i. The oracle of every backend."""
    positions = torch.arange(document_BT.shape[1], device=document_BT.device)
    not_later_TT = positions[None, :] <= positions[:, None]
    same_segment_BTT = (document_BT[:, :, None] == document_BT[:, None, :]) & (document_BT[:, :, None] > 0)
    same_region_BTT = (region_BT[:, :, None] == region_BT[:, None, :]) & (region_BT[:, :, None] > 0)
    return same_segment_BTT & (not_later_TT | same_region_BTT)


@dataclass(frozen=True)
class Visibility:
    """What the attention of one batch needs; built once per batch and shared by all layers.

    Attributes:
        bias_B1TT: 0 where visible and −inf elsewhere, or None for plain causal attention over single segments.
    """

    bias_B1TT: Tensor | None

    @classmethod
    def of(cls, document_BT: Tensor, region_BT: Tensor, dtype: torch.dtype, honours_regions: bool) -> "Visibility":
        """The visibility of a batch.

        Args:
            document_BT: segments, 0 for padding at the end of a row.
            region_BT: regions, 0 for none.
            dtype: of the additive mask.
            honours_regions: false for a causal decoder, which ignores them.
        """
        regions_BT = region_BT if honours_regions else torch.zeros_like(region_BT)
        if not bool(regions_BT.any()) and bool(((document_BT == document_BT[:, :1]) | (document_BT == 0)).all()):
            # One segment, then padding at most: what is visible from a token is what came before it.
            return cls(None)
        visible = visible_BTT(document_BT, regions_BT)
        # A padding position sees itself: a row of −inf alone would be NaN, forward and backward.
        visible |= torch.eye(document_BT.shape[1], dtype=torch.bool, device=visible.device)
        bias = torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, float("-inf"))
        return cls(bias[:, None])


def attend(query_BHTD: Tensor, key_BHTD: Tensor, value_BHTD: Tensor, visibility: Visibility) -> Tensor:
    """Scaled dot-product attention under a visibility: (B, H, T, D)."""
    if visibility.bias_B1TT is None:
        return functional.scaled_dot_product_attention(query_BHTD, key_BHTD, value_BHTD, is_causal=True)
    return functional.scaled_dot_product_attention(
        query_BHTD, key_BHTD, value_BHTD, attn_mask=visibility.bias_B1TT.to(query_BHTD.dtype)
    )
