"""The keys and values of tokens that a model has read, so that it reads each token once while it writes.

A cache takes the place of the attention masks, one `Attention` per layer. Blocks know nothing of it: they pass queries,
keys and values to whatever attends.

Shapes: `L` layers, `B` rows, `H` query heads, `K` key and value heads, `T` positions of a prompt, `S` cached positions,
`D` head width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ablate.model.attention import Attention
from ablate.model.blocks import BlockShape
from ablate.model.transfer import to_device

# What attention computes for a row must not depend on the longest row: kernels add whole blocks of keys in one order.
KEY_BLOCK = 16


@dataclass(frozen=True)
class KeyValueCache:
    """Keys and values of some rows in all layers. A row is filled from the front: its prompt, then what is written.

    Attributes:
        key_LBKSD: keys, rotated.
        value_LBKSD: values.
        prompt_B: number of positions of each row's prompt, on the host.
        length_B: number of positions of each row, on the host.
    """

    key_LBKSD: Tensor
    value_LBKSD: Tensor
    prompt_B: Tensor
    length_B: Tensor

    @classmethod
    def empty(
        cls, layers: int, rows: int, positions: int, shape: BlockShape, dtype: torch.dtype, device: torch.device
    ) -> "KeyValueCache":
        """Allocate a cache for so many rows of at most so many positions."""
        size = (layers, rows, shape.key_value_heads, _in_blocks(positions), shape.head_width)
        # Zeros: what is masked is multiplied by 0, and uninitialised memory may hold NaN.
        key, value = (torch.zeros(size, dtype=dtype, device=device) for _ in range(2))
        return cls(key, value, *(torch.zeros(rows, dtype=torch.int64) for _ in range(2)))

    def recording(self, masks: Sequence[Attention], row: int, positions: int) -> list[Attention]:
        """Return what attends under the masks, layer by layer, and stores the keys and values of one prompt.

        Args:
            masks: of a batch of one row.
            row: of the cache.
            positions: the prompt's, without padding.
        """
        self.prompt_B[row] = self.length_B[row] = positions
        parts = (self.key_LBKSD[:, row, :, :positions], self.value_LBKSD[:, row, :, :positions])
        return [_Recording(mask, key, value) for mask, key, value in zip(masks, *parts, strict=True)]

    def appending(self, rows: int) -> list[Attention]:
        """Return what adds one position to each of the first rows and attends to all of the row, layer by layer."""
        slot_B = self.length_B[:rows].clone()
        self.length_B[:rows] += 1
        return self._attending(rows, slot_B)

    def reading(self, rows: int) -> list[Attention]:
        """Return what attends to all positions of the first rows, layer by layer, and adds none."""
        return self._attending(rows, None)

    def _attending(self, rows: int, slot_B: Tensor | None) -> list[Attention]:
        device, dtype = self.key_LBKSD.device, self.key_LBKSD.dtype
        length_B1 = self.length_B[:rows, None]
        longest = _in_blocks(max(1, int(length_B1.max())))
        is_empty_B1 = length_B1 == 0
        masked_BS = (torch.arange(longest) >= length_B1) & ~is_empty_B1
        bias_BS = torch.zeros(masked_BS.shape, dtype=dtype).masked_fill_(masked_BS, float("-inf"))
        bias_B11S = to_device(bias_BS, device)[:, None, None]
        is_empty_B111 = to_device(is_empty_B1, device)[:, :, None, None] if bool(is_empty_B1.any()) else None
        slot_B = None if slot_B is None else to_device(slot_B, device)
        row_B = torch.arange(rows, device=device)
        parts = (self.key_LBKSD[:, :rows], self.value_LBKSD[:, :rows])
        return [_Cached(key, value, bias_B11S, is_empty_B111, row_B, slot_B) for key, value in zip(*parts, strict=True)]

    def fork(self, source: int, target: int) -> None:
        """Begin a row with the prompt of another one, or again with its own."""
        if source != target:
            self._copy(source, target, int(self.prompt_B[source]))
        self.length_B[target] = self.prompt_B[target] = self.prompt_B[source]

    def move(self, source: int, target: int) -> None:
        """Move a row to the place of another one."""
        self._copy(source, target, int(self.length_B[source]))
        self.prompt_B[target], self.length_B[target] = self.prompt_B[source], self.length_B[source]
        self.length_B[source] = 0

    def _copy(self, source: int, target: int, positions: int) -> None:
        for part_LBKSD in (self.key_LBKSD, self.value_LBKSD):
            part_LBKSD[:, target, :, :positions] = part_LBKSD[:, source, :, :positions]


def _in_blocks(positions: int) -> int:
    return -(-positions // KEY_BLOCK) * KEY_BLOCK


# The cache of self-attention and, where there is an encoder, that of cross-attention.
Caches = tuple[KeyValueCache, ...]


@dataclass(frozen=True)
class _Recording:
    """Attention under a mask, whose keys and values of one row are stored."""

    mask: Attention
    key_KTD: Tensor
    value_KTD: Tensor

    def attend(self, query_BHQD: Tensor, key_BKSD: Tensor, value_BKSD: Tensor) -> Tensor:
        positions = self.key_KTD.shape[1]
        self.key_KTD.copy_(key_BKSD[0, :, :positions])
        self.value_KTD.copy_(value_BKSD[0, :, :positions])
        return self.mask.attend(query_BHQD, key_BKSD, value_BKSD)


@dataclass(frozen=True)
class _Cached:
    """Attention of one query per row to the cached positions of its row.

    Attributes:
        slot_B: where the new keys and values go; None if there are none.
    """

    key_BKSD: Tensor
    value_BKSD: Tensor
    bias_B11S: Tensor
    is_empty_B111: Tensor | None
    row_B: Tensor
    slot_B: Tensor | None

    def attend(self, query_BH1D: Tensor, new_key_BKXD: Tensor, new_value_BKXD: Tensor) -> Tensor:
        if self.slot_B is not None:
            self.key_BKSD[self.row_B, :, self.slot_B] = new_key_BKXD[:, :, 0].to(self.key_BKSD.dtype)
            self.value_BKSD[self.row_B, :, self.slot_B] = new_value_BKXD[:, :, 0].to(self.key_BKSD.dtype)
        longest = self.bias_B11S.shape[-1]
        key_BKSD, value_BKSD = self.key_BKSD[:, :, :longest], self.value_BKSD[:, :, :longest]
        # The queries that share a key head take the place of positions, so no key is repeated.
        rows, heads = key_BKSD.shape[:2]
        query_BKGD = query_BH1D.reshape(rows, heads, -1, query_BH1D.shape[-1]).to(key_BKSD.dtype)
        output_BKGD = functional.scaled_dot_product_attention(
            query_BKGD, key_BKSD, value_BKSD, attn_mask=self.bias_B11S.expand(-1, -1, query_BKGD.shape[2], -1)
        )
        output_BH1D = output_BKGD.flatten(1, 2)[:, :, None].to(query_BH1D.dtype)
        return output_BH1D if self.is_empty_B111 is None else output_BH1D.masked_fill(self.is_empty_B111, 0.0)
