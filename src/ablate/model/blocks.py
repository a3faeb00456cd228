"""The layers: that of CodeGen and GPT-J, and that of Llama; either may attend to other states besides.

Parameters keep their names, as their first values are drawn by them.

Shapes: `B` rows, `T` positions, `S` positions of the memory, `C` width, `H` query heads, `K` key and value heads,
`D` head width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ablate.config.trial import TrialConfig
from ablate.model.attention import Visibility, attend
from ablate.model.rotary import rotate

Angles = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Memory:
    """States that a crossing block attends to, (B, S, C), and which of them each position sees."""

    states_BSC: Tensor
    visibility: Visibility


@dataclass(frozen=True)
class BlockShape:
    """What a block is built from; `key_value_heads` divides `heads`."""

    kind: str
    width: int
    heads: int
    key_value_heads: int
    mlp_width: int
    norm_eps: float

    @classmethod
    def of(cls, trial: TrialConfig) -> "BlockShape":
        """The shape of the trial's blocks."""
        return cls(
            kind=trial.block.kind,
            width=trial.scale.d_model,
            heads=trial.scale.n_heads,
            key_value_heads=trial.key_value_heads,
            mlp_width=trial.mlp_width,
            norm_eps=trial.block.norm_eps,
        )

    @property
    def head_width(self) -> int:
        """Channels of a head."""
        return self.width // self.heads

    def block(self, *, crosses: bool = False) -> "GPTJBlock | LlamaBlock":
        """A new block of this kind, which attends to a memory where it `crosses`."""
        return BLOCKS[self.kind](self, crosses=crosses)

    def norm(self) -> nn.LayerNorm | nn.RMSNorm:
        """A new norm of this kind."""
        norm = nn.LayerNorm if self.kind == "gptj" else nn.RMSNorm
        return norm(self.width, eps=self.norm_eps)

    def head(self, vocabulary: int) -> nn.Linear:
        """A new head: from the last states to logits, with a bias for `gptj`."""
        return nn.Linear(self.width, vocabulary, bias=self.kind == "gptj")


class GPTJBlock(nn.Module):
    """GPT-J's layer: one LayerNorm feeds attention and MLP in parallel; no bias in the attention's projections."""

    def __init__(self, shape: BlockShape, *, crosses: bool) -> None:
        super().__init__()
        self.shape = shape
        self.norm = shape.norm()
        self.qkv = _qkv(shape)
        self.attention_out = nn.Linear(shape.width, shape.width, bias=False)
        self.mlp_in = nn.Linear(shape.width, shape.mlp_width)
        self.mlp_out = nn.Linear(shape.mlp_width, shape.width)
        self.cross = CrossAttention(shape) if crosses else None

    def forward(self, x_BTC: Tensor, angles: Angles, visibility: Visibility, memory: Memory | None = None) -> Tensor:
        """x + attention(norm(x)) + mlp(norm(x)), and + cross(x, memory) in parallel where it crosses."""
        assert (memory is None) == (self.cross is None)
        normed_BTC = self.norm(x_BTC)
        attention_BTC: Tensor = self.attention_out(
            _self_attention(self.qkv(normed_BTC), self.shape, angles, visibility)
        )
        mlp_BTC: Tensor = self.mlp_out(functional.gelu(self.mlp_in(normed_BTC), approximate="tanh"))
        mixed_BTC = x_BTC + attention_BTC + mlp_BTC
        return mixed_BTC if self.cross is None else mixed_BTC + self.cross(x_BTC, memory)


class LlamaBlock(nn.Module):
    """Llama's layer: RMSNorm, attention with grouped queries, RMSNorm, SwiGLU (Touvron et al. 2023); no biases."""

    def __init__(self, shape: BlockShape, *, crosses: bool) -> None:
        super().__init__()
        self.shape = shape
        self.attention_norm = shape.norm()
        self.qkv = _qkv(shape)
        self.attention_out = nn.Linear(shape.width, shape.width, bias=False)
        self.mlp_norm = shape.norm()
        self.mlp_gate = nn.Linear(shape.width, shape.mlp_width, bias=False)
        self.mlp_in = nn.Linear(shape.width, shape.mlp_width, bias=False)
        self.mlp_out = nn.Linear(shape.mlp_width, shape.width, bias=False)
        self.cross = CrossAttention(shape) if crosses else None

    def forward(self, x_BTC: Tensor, angles: Angles, visibility: Visibility, memory: Memory | None = None) -> Tensor:
        """x + attention(norm(x)), then + cross(x, memory) where it crosses, then + mlp(norm(x))."""
        assert (memory is None) == (self.cross is None)
        qkv = self.qkv(self.attention_norm(x_BTC))
        x_BTC = x_BTC + self.attention_out(_self_attention(qkv, self.shape, angles, visibility))
        if self.cross is not None:
            x_BTC = x_BTC + self.cross(x_BTC, memory)
        normed_BTC = self.mlp_norm(x_BTC)
        mlp_BTC: Tensor = self.mlp_out(functional.silu(self.mlp_gate(normed_BTC)) * self.mlp_in(normed_BTC))
        return x_BTC + mlp_BTC


class CrossAttention(nn.Module):
    """Attention from positions to a memory: a norm of its own, no rotary turns, no biases."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.shape = shape
        self.norm = shape.norm()
        self.query = nn.Linear(shape.width, shape.width, bias=False)
        self.key_value = nn.Linear(shape.width, 2 * shape.key_value_heads * shape.head_width, bias=False)
        self.out = nn.Linear(shape.width, shape.width, bias=False)

    def forward(self, x_BTC: Tensor, memory: Memory) -> Tensor:
        """What the positions read from the memory: (B, T, C)."""
        query_BHTD = _heads(self.query(self.norm(x_BTC)), self.shape.head_width)
        key_BKSD, value_BKSD = _heads(self.key_value(memory.states_BSC), self.shape.head_width).chunk(2, dim=1)
        key_BHSD, value_BHSD = _shared(key_BKSD, self.shape), _shared(value_BKSD, self.shape)
        mixed_BHTD = attend(query_BHTD, key_BHSD, value_BHSD, memory.visibility)
        read_BTC: Tensor = self.out(mixed_BHTD.transpose(1, 2).flatten(2))
        return read_BTC


BLOCKS: dict[str, type[GPTJBlock] | type[LlamaBlock]] = {"gptj": GPTJBlock, "llama": LlamaBlock}


def _qkv(shape: BlockShape) -> nn.Linear:
    """One product for all queries, then all keys, then all values."""
    return nn.Linear(shape.width, (shape.heads + 2 * shape.key_value_heads) * shape.head_width, bias=False)


def _self_attention(qkv_BTX: Tensor, shape: BlockShape, angles: Angles, visibility: Visibility) -> Tensor:
    """The heads' values mixed under a visibility, side by side: (B, T, C)."""
    sizes = [shape.heads, shape.key_value_heads, shape.key_value_heads]
    query_BHTD, key_BKTD, value_BKTD = torch.split(_heads(qkv_BTX, shape.head_width), sizes, dim=1)
    key_BHTD, value_BHTD = _shared(rotate(key_BKTD, *angles), shape), _shared(value_BKTD, shape)
    return attend(rotate(query_BHTD, *angles), key_BHTD, value_BHTD, visibility).transpose(1, 2).flatten(2)


def _heads(x_BTX: Tensor, head_width: int) -> Tensor:
    """(B, T, X · D) to (B, X, T, D)."""
    return x_BTX.view(*x_BTX.shape[:2], -1, head_width).transpose(1, 2)


def _shared(x_BKTD: Tensor, shape: BlockShape) -> Tensor:
    """Each key or value head once for every query head of its group: (B, H, T, D); Ainslie et al. 2023."""
    times = shape.heads // shape.key_value_heads
    return x_BKTD if times == 1 else x_BKTD.repeat_interleave(times, dim=1)
