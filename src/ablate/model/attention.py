"""Who sees whom, and attention under it.

The mask algebra, the only definition of visibility: position j is visible from position i when both lie in the same
segment (`document_BT`, 0 is padding) and j ≤ i or both lie in the same non-zero region (`region_BT`).

Segments and regions are runs of a row, a region within one segment, so what a position sees is an interval: from its
segment's start to itself or, in a region, to the region's end. All backends are built from these intervals.

Shapes: `B` rows, `T` positions, `H` heads, `Q` queries, `S` keys, `D` head width; `i` asks, `j` is asked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from ablate.model.block_attention import block_attention, block_jobs

Backend = Literal["sdpa", "flex", "dense"]


def visible_BTT(document_BT: Tensor, region_BT: Tensor) -> Tensor:
    """The dense matrix of the algebra: `[b, i, j]` is true where j is visible from i. The oracle of every backend."""
    positions = torch.arange(document_BT.shape[1], device=document_BT.device)
    not_later_TT = positions[None, :] <= positions[:, None]
    same_segment_BTT = (document_BT[:, :, None] == document_BT[:, None, :]) & (document_BT[:, :, None] > 0)
    same_region_BTT = (region_BT[:, :, None] == region_BT[:, None, :]) & (region_BT[:, :, None] > 0)
    return same_segment_BTT & (not_later_TT | same_region_BTT)


def run_bounds(label_BT: Tensor) -> tuple[Tensor, Tensor]:
    """The first position of the run of equal labels that each position lies in, and the one after its last."""
    positions_BT = torch.arange(label_BT.shape[1], device=label_BT.device).expand(label_BT.shape)
    changes = label_BT[:, 1:] != label_BT[:, :-1]
    begins = functional.pad(changes, (1, 0), value=True)
    ends = functional.pad(changes, (0, 1), value=True)
    first_BT = positions_BT.where(begins, 0).cummax(1).values
    end_BT = (positions_BT + 1).where(ends, label_BT.shape[1]).flip(1).cummin(1).values.flip(1)
    return first_BT, end_BT


def visible_intervals(document_BT: Tensor, region_BT: Tensor) -> tuple[Tensor, Tensor]:
    """The algebra as intervals: the first position that each position sees, and the one after the last.

    Padding sees all that lies before it, so that a row of one segment is plainly causal; nothing sees padding.
    """
    positions_BT = torch.arange(document_BT.shape[1], device=document_BT.device).expand(document_BT.shape)
    segment_first_BT, _ = run_bounds(document_BT)
    _, region_end_BT = run_bounds(region_BT)
    return segment_first_BT.where(document_BT > 0, 0), region_end_BT.where(
        (region_BT > 0) & (document_BT > 0), positions_BT + 1
    )


class Dense:
    """Softmax over the boolean matrix, written out: the oracle."""

    def __init__(self, seen_BQS: Tensor) -> None:
        self.seen_B1QS = seen_BQS[:, None]

    def __call__(self, query_BHQD: Tensor, key_BHSD: Tensor, value_BHSD: Tensor) -> Tensor:
        """The mixed values: (B, H, Q, D)."""
        scores_BHQS = query_BHQD @ key_BHSD.mT / query_BHQD.shape[-1] ** 0.5
        weight_BHQS: Tensor = scores_BHQS.masked_fill(~self.seen_B1QS, float("-inf")).softmax(-1)
        return weight_BHQS @ value_BHSD


class Fused:
    """torch's own kernel, under a bias or, for a bias of None, plainly causal."""

    def __init__(self, bias_BQS: Tensor | None) -> None:
        self.bias_B1QS = None if bias_BQS is None else bias_BQS[:, None]

    def __call__(self, query_BHQD: Tensor, key_BHSD: Tensor, value_BHSD: Tensor) -> Tensor:
        """The mixed values: (B, H, Q, D)."""
        return functional.scaled_dot_product_attention(
            query_BHQD, key_BHSD, value_BHSD, attn_mask=self.bias_B1QS, is_causal=self.bias_B1QS is None
        )


class Blocks:
    """Products over blocks of queries: see `block_attention`."""

    def __init__(self, bias_BQS: Tensor, jobs_J5: Tensor) -> None:
        self.bias_BQS, self.jobs_J5 = bias_BQS, jobs_J5

    def __call__(self, query_BHQD: Tensor, key_BHSD: Tensor, value_BHSD: Tensor) -> Tensor:
        """The mixed values: (B, H, Q, D)."""
        mixed_BHQD: Tensor = block_attention(query_BHQD, key_BHSD, value_BHSD, self.bias_BQS, self.jobs_J5)[0]
        return mixed_BHQD


class Flex:
    """torch's FlexAttention, which skips blocks that nobody sees; compiled, and with a backward pass on a GPU only."""

    def __init__(self, mask: BlockMask) -> None:
        self.mask = mask

    def __call__(self, query_BHQD: Tensor, key_BHSD: Tensor, value_BHSD: Tensor) -> Tensor:
        """The mixed values: (B, H, Q, D)."""
        return cast(
            "Tensor", _compiled_flex(query_BHQD.device.type)(query_BHQD, key_BHSD, value_BHSD, block_mask=self.mask)
        )


@cache
def _compiled_flex(device: str) -> Callable[..., Any]:
    # For a CPU, torch 2.13 generates wrong C++ where lengths are symbols.
    return torch.compile(flex_attention, dynamic=False if device == "cpu" else None)


@dataclass(frozen=True)
class Visibility:
    """What the attention of one batch needs; built once per batch and shared by all layers.

    Attributes:
        mix: the backend, with its form of the mask.
        blind_B1Q1: true for queries that see nothing, whose output is 0; None when there is none.
    """

    mix: Dense | Fused | Blocks | Flex
    blind_B1Q1: Tensor | None

    @classmethod
    def of(
        cls, document_BT: Tensor, region_BT: Tensor, dtype: torch.dtype, honours_regions: bool, backend: Backend
    ) -> "Visibility":
        """The visibility of a batch for a decoder.

        Args:
            document_BT: segments, 0 for padding at the end of a row.
            region_BT: regions, 0 for none.
            dtype: of the products.
            honours_regions: false for a causal decoder, which ignores them.
            backend: see `between`.
        """
        regions_BT = region_BT if honours_regions else torch.zeros_like(region_BT)
        intervals = visible_intervals(document_BT, regions_BT)
        return cast("Visibility", cls.between(*intervals, document_BT.shape[1], dtype, backend))

    @classmethod
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def between(cls, first_BQ: Tensor, end_BQ: Tensor, keys: int, dtype: torch.dtype, backend: Backend) -> "Visibility":
        """The visibility of intervals of keys from queries.

        Args:
            first_BQ: the first key that a query sees.
            end_BQ: the key after the last one that it sees; not above `first_BQ` where it sees none.
            keys: how many there are.
            dtype: of the products.
            backend: `sdpa` is torch's kernel, but on a CPU in bf16, where `Blocks` are faster.
        """
        seen_BQS = torch.arange(keys, device=first_BQ.device) >= first_BQ[:, :, None]
        seen_BQS &= torch.arange(keys, device=first_BQ.device) < end_BQ[:, :, None]
        blind_BQ = end_BQ <= first_BQ
        blind_B1Q1 = blind_BQ[:, None, :, None] if bool(blind_BQ.any()) else None
        # Softmax over nothing is no number: what is blind looks everywhere, and its output is dropped.
        seen_BQS |= blind_BQ[:, :, None]
        return cls(_mix(seen_BQS, first_BQ, end_BQ, dtype, backend), blind_B1Q1)


def _mix(
    seen_BQS: Tensor, first_BQ: Tensor, end_BQ: Tensor, dtype: torch.dtype, backend: Backend
) -> Dense | Fused | Blocks | Flex:
    if backend == "dense":
        return Dense(seen_BQS)
    if backend == "flex":
        return Flex(_block_mask(first_BQ, end_BQ, seen_BQS.shape[2]))
    in_blocks = seen_BQS.device.type == "cpu" and dtype == torch.bfloat16
    later_Q = torch.arange(1, seen_BQS.shape[1] + 1, device=seen_BQS.device)
    if not in_blocks and not bool(first_BQ.any()) and bool((end_BQ == later_Q).all()):
        return Fused(None)
    bias_BQS = torch.zeros(seen_BQS.shape, dtype=dtype, device=seen_BQS.device)
    bias_BQS.masked_fill_(~seen_BQS, float("-inf"))
    return Blocks(bias_BQS, block_jobs(first_BQ, end_BQ)) if in_blocks else Fused(bias_BQS)


def _block_mask(first_BQ: Tensor, end_BQ: Tensor, keys: int) -> BlockMask:
    def sees(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (first_BQ[row, query] <= key) & (key < end_BQ[row, query])

    rows, queries = first_BQ.shape
    return create_block_mask(sees, rows, None, queries, keys, device=first_BQ.device.type)


def attend(query_BHQD: Tensor, key_BHSD: Tensor, value_BHSD: Tensor, visibility: Visibility) -> Tensor:
    """Scaled dot-product attention under a visibility: (B, H, Q, D); exactly 0 for queries that see nothing."""
    mixed_BHQD = visibility.mix(query_BHQD, key_BHSD, value_BHSD)
    return mixed_BHQD if visibility.blind_B1Q1 is None else mixed_BHQD.masked_fill(visibility.blind_B1Q1, 0.0)


def product_dtype(states: Tensor) -> torch.dtype:
    """The dtype that matrix products of these states are made in, under autocast or not."""
    device = states.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype
