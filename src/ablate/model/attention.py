"""Attention masks and backends.

One rule defines every mask: query i attends to key j if both lie in the same segment (`document_BT`, 0 is padding) and
j ≤ i or both lie in the same bidirectional span (`span_BT`, 0 is none).

Segments and spans are runs of a row, and a span lies inside one segment. So the keys of a query are an interval: from
its segment's start to itself or, in a span, to the span's end. All backends are built from these intervals.

Shapes: `B` rows, `T` positions, `H` query heads, `K` key and value heads, `Q` queries, `S` keys, `D` head width; `i`
indexes queries, `j` keys.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from ablate.model.block_attention import block_attention, block_jobs
from ablate.model.transfer import to_device

BackendName = Literal["sdpa", "flex", "dense"]


def attention_mask_BTT(document_BT: Tensor, span_BT: Tensor) -> Tensor:
    """Return the mask as a dense matrix, true where query i attends to key j: the reference for every backend."""
    positions = torch.arange(document_BT.shape[1], device=document_BT.device)
    not_later_TT = positions[None, :] <= positions[:, None]
    same_segment_BTT = (document_BT[:, :, None] == document_BT[:, None, :]) & (document_BT[:, :, None] > 0)
    same_span_BTT = (span_BT[:, :, None] == span_BT[:, None, :]) & (span_BT[:, :, None] > 0)
    return same_segment_BTT & (not_later_TT | same_span_BTT)


def run_bounds(label_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first position of each position's run of equal labels, and the one after its last."""
    positions_BT = torch.arange(label_BT.shape[1], device=label_BT.device).expand(label_BT.shape)
    changes = label_BT[:, 1:] != label_BT[:, :-1]
    begins = functional.pad(changes, (1, 0), value=True)
    ends = functional.pad(changes, (0, 1), value=True)
    first_BT = positions_BT.where(begins, 0).cummax(1).values
    end_BT = (positions_BT + 1).where(ends, label_BT.shape[1]).flip(1).cummin(1).values.flip(1)
    return first_BT, end_BT


def mask_intervals(document_BT: Tensor, span_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mask as intervals: the first key of each query, and the one after its last.

    Padding attends to everything before it, which makes a row of one segment plainly causal. Nothing attends to
    padding.
    """
    positions_BT = torch.arange(document_BT.shape[1], device=document_BT.device).expand(document_BT.shape)
    segment_first_BT, _ = run_bounds(document_BT)
    _, span_end_BT = run_bounds(span_BT)
    return segment_first_BT.where(document_BT > 0, 0), span_end_BT.where(
        (span_BT > 0) & (document_BT > 0), positions_BT + 1
    )


class Dense:
    """Softmax over the dense matrix, written out: the reference."""

    def __init__(self, mask_BQS: Tensor) -> None:
        self.mask_B1QS = mask_BQS[:, None]

    def __call__(self, query_BHQD: Tensor, key_BHSD: Tensor, value_BHSD: Tensor) -> Tensor:
        """Return the output, (B, H, Q, D)."""
        scores_BHQS = query_BHQD @ key_BHSD.mT / query_BHQD.shape[-1] ** 0.5
        weight_BHQS: Tensor = scores_BHQS.masked_fill(~self.mask_B1QS, float("-inf")).softmax(-1)
        return weight_BHQS @ value_BHSD


class Fused:
    """torch's `scaled_dot_product_attention`, with a bias or, for a bias of None, causal."""

    def __init__(self, bias_BQS: Tensor | None) -> None:
        self.bias_B1QS = None if bias_BQS is None else bias_BQS[:, None]

    def __call__(self, query_BHQD: Tensor, key_BHSD: Tensor, value_BHSD: Tensor) -> Tensor:
        """Return the output, (B, H, Q, D)."""
        return functional.scaled_dot_product_attention(
            query_BHQD, key_BHSD, value_BHSD, attn_mask=self.bias_B1QS, is_causal=self.bias_B1QS is None
        )


class Blocks:
    """Matrix products over blocks of queries; see `block_attention`."""

    def __init__(self, bias_BQS: Tensor, jobs_J5: Tensor) -> None:
        self.bias_BQS, self.jobs_J5 = bias_BQS, jobs_J5

    def __call__(self, query_BHQD: Tensor, key_BHSD: Tensor, value_BHSD: Tensor) -> Tensor:
        """Return the output, (B, H, Q, D)."""
        output_BHQD: Tensor = block_attention(query_BHQD, key_BHSD, value_BHSD, self.bias_BQS, self.jobs_J5)[0]
        return output_BHQD


class Flex:
    """torch's FlexAttention, which skips fully masked blocks. Compiled; its backward pass needs a GPU."""

    def __init__(self, mask: BlockMask) -> None:
        self.mask = mask

    def __call__(self, query_BHQD: Tensor, key_BHSD: Tensor, value_BHSD: Tensor) -> Tensor:
        """Return the output, (B, H, Q, D)."""
        return cast(
            "Tensor", _compiled_flex(query_BHQD.device.type)(query_BHQD, key_BHSD, value_BHSD, block_mask=self.mask)
        )


@cache
def _compiled_flex(device: str) -> Callable[..., Any]:
    # For a CPU, torch 2.13 generates wrong C++ where lengths are symbols.
    return torch.compile(flex_attention, dynamic=False if device == "cpu" else None)


class Attention(Protocol):
    """What a block hands its queries, keys and values to; each of K key heads serves H / K neighbouring query heads."""

    def attend(self, query_BHQD: Tensor, key_BKSD: Tensor, value_BKSD: Tensor) -> Tensor:
        """Compute scaled dot-product attention, (B, H, Q, D)."""


@dataclass(frozen=True)
class AttentionMask:
    """The mask of one batch in its backend's form; built once per batch and shared by all layers.

    Attributes:
        backend: computes attention under the mask.
        fully_masked_B1Q1: true for queries without a key, whose output is 0; None if there are none.
    """

    backend: Dense | Fused | Blocks | Flex
    fully_masked_B1Q1: Tensor | None

    @classmethod
    def from_segments(
        cls,
        document_BT: Tensor,
        span_BT: Tensor,
        dtype: torch.dtype,
        honours_spans: bool,
        backend: BackendName,
        device: torch.device | None = None,
    ) -> "AttentionMask":
        """Build the mask of a batch for a decoder.

        Args:
            document_BT: segments, 0 for padding at the end of a row.
            span_BT: bidirectional spans, 0 for none.
            dtype: dtype of the products.
            honours_spans: false for a causal decoder, which ignores spans.
            backend: see `from_intervals`.
            device: see `from_intervals`.
        """
        intervals = mask_intervals(document_BT, span_BT if honours_spans else torch.zeros_like(span_BT))
        return cls.from_intervals(*intervals, document_BT.shape[1], dtype, backend, device)

    @classmethod
    def from_intervals(
        cls,
        first_BQ: Tensor,
        end_BQ: Tensor,
        keys: int,
        dtype: torch.dtype,
        backend: BackendName,
        device: torch.device | None = None,
    ) -> "AttentionMask":
        """Build the mask from the interval of keys of each query.

        What depends on the numbers is decided where the intervals lie: on the host, nobody waits for a GPU.

        Args:
            first_BQ: the first key of each query.
            end_BQ: the key after its last one; a query with `end_BQ <= first_BQ` attends to no key.
            keys: number of keys.
            dtype: dtype of the products.
            backend: `sdpa` is torch's kernel, except on a CPU in bf16, where `Blocks` is faster.
            device: where the mask is used; None for where the intervals lie.
        """
        device = device or first_BQ.device
        fully_masked_BQ = end_BQ <= first_BQ
        has_fully_masked = bool(fully_masked_BQ.any())
        later_Q = torch.arange(1, first_BQ.shape[1] + 1, device=first_BQ.device)
        is_causal = first_BQ.shape[1] == keys and not bool(first_BQ.any()) and bool((end_BQ == later_Q).all())
        in_blocks = backend == "sdpa" and device.type == "cpu" and dtype == torch.bfloat16
        jobs_J5 = block_jobs(first_BQ, end_BQ) if in_blocks else None
        first_BQ, end_BQ = to_device(first_BQ, device), to_device(end_BQ, device)
        fully_masked_B1Q1 = (end_BQ <= first_BQ)[:, None, :, None] if has_fully_masked else None
        if backend == "flex":
            return cls(Flex(_block_mask(first_BQ, end_BQ, keys)), fully_masked_B1Q1)
        if backend == "sdpa" and is_causal and not in_blocks:
            return cls(Fused(None), fully_masked_B1Q1)
        mask_BQS = torch.arange(keys, device=device) >= first_BQ[:, :, None]
        mask_BQS &= torch.arange(keys, device=device) < end_BQ[:, :, None]
        # Softmax over no key is NaN: a fully masked query attends to all keys, and `attend` sets its output to 0.
        mask_BQS |= (end_BQ <= first_BQ)[:, :, None]
        if backend == "dense":
            return cls(Dense(mask_BQS), fully_masked_B1Q1)
        bias_BQS = torch.zeros(mask_BQS.shape, dtype=dtype, device=device).masked_fill_(~mask_BQS, float("-inf"))
        return cls(Fused(bias_BQS) if jobs_J5 is None else Blocks(bias_BQS, jobs_J5), fully_masked_B1Q1)

    def attend(self, query_BHQD: Tensor, key_BKSD: Tensor, value_BKSD: Tensor) -> Tensor:
        """Compute attention, (B, H, Q, D); exactly 0 for fully masked queries."""
        heads = query_BHQD.shape[1]
        output_BHQD = self.backend(query_BHQD, _repeat_heads(key_BKSD, heads), _repeat_heads(value_BKSD, heads))
        return output_BHQD if self.fully_masked_B1Q1 is None else output_BHQD.masked_fill(self.fully_masked_B1Q1, 0.0)


def _repeat_heads(x_BKSD: Tensor, heads: int) -> Tensor:
    """Repeat each key or value head for the query heads of its group: (B, H, S, D); Ainslie et al. 2023."""
    times = heads // x_BKSD.shape[1]
    return x_BKSD if times == 1 else x_BKSD.repeat_interleave(times, dim=1)


def _block_mask(first_BQ: Tensor, end_BQ: Tensor, keys: int) -> BlockMask:
    def attends(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (first_BQ[row, query] <= key) & (key < end_BQ[row, query])

    rows, queries = first_BQ.shape
    return create_block_mask(attends, rows, None, queries, keys, device=first_BQ.device.type)


def product_dtype(states: Tensor) -> torch.dtype:
    """Return the dtype of matrix products of these states, which autocast may change."""
    device = states.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype
