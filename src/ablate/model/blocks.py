"""Transformer blocks: that of CodeGen and GPT-J, and that of Llama, either with cross-attention or without.

Initial values are drawn by parameter name, so renaming a parameter changes results.

Shapes: `B` rows, `T` positions, `S` encoder positions, `C` width, `H` query heads, `K` key and value heads, `D` head
width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ablate.config.trial import TrialConfig
from ablate.model.attention import Attention
from ablate.model.rotary import Angles, rotate


@dataclass(frozen=True)
class EncoderOutput:
    """States for cross-attention, (B, S, C), and the mask from decoder positions to them."""

    states_BSC: Tensor
    mask: Attention


@dataclass(frozen=True)
class BlockShape:
    """The dimensions of a block; `key_value_heads` divides `heads`.

    With `recomputes_mlp` the backward pass computes the MLP's inner channels again. They are half of what a block
    keeps for it, and take a ninth of the operations of a step. `query_multiplier` is muP's: attention is divided by the
    head width and no longer by its root, and at the base width nothing changes.
    """

    kind: str
    width: int
    heads: int
    key_value_heads: int
    mlp_width: int
    norm_eps: float
    recomputes_mlp: bool = False
    query_multiplier: float = 1.0

    @classmethod
    def of(cls, trial: TrialConfig) -> "BlockShape":
        """Return the shape of the trial's blocks."""
        return cls(
            kind=trial.block.kind,
            width=trial.scale.d_model,
            heads=trial.scale.n_heads,
            key_value_heads=trial.key_value_heads,
            mlp_width=trial.mlp_width,
            norm_eps=trial.block.norm_eps,
            recomputes_mlp=trial.scale.activation_checkpointing == "selective",
            query_multiplier=trial.scale.width_multiplier**-0.5,
        )

    @property
    def head_width(self) -> int:
        """Channels of one head."""
        return self.width // self.heads

    def block(self, *, cross_attention: bool = False) -> "GPTJBlock | LlamaBlock":
        """Build a block of this kind."""
        return BLOCKS[self.kind](self, cross_attention=cross_attention)

    def norm(self) -> nn.LayerNorm | nn.RMSNorm:
        """Build a norm of this kind."""
        norm = nn.LayerNorm if self.kind == "gptj" else nn.RMSNorm
        return norm(self.width, eps=self.norm_eps)

    def head(self, vocabulary: int) -> nn.Linear:
        """Build a head, which maps the last states to logits; `gptj` has a bias."""
        return nn.Linear(self.width, vocabulary, bias=self.kind == "gptj")


class GPTJBlock(nn.Module):
    """GPT-J's layer: one LayerNorm feeds attention and MLP in parallel; no bias in the attention's projections."""

    def __init__(self, shape: BlockShape, *, cross_attention: bool) -> None:
        super().__init__()
        self.shape = shape
        self.norm = shape.norm()
        self.qkv = _qkv(shape)
        self.attention_out = nn.Linear(shape.width, shape.width, bias=False)
        self.mlp_in = nn.Linear(shape.width, shape.mlp_width)
        self.mlp_out = nn.Linear(shape.mlp_width, shape.width)
        self.cross = CrossAttention(shape) if cross_attention else None

    def forward(
        self, x_BTC: Tensor, angles: Angles, mask: Attention, encoder_output: EncoderOutput | None = None
    ) -> Tensor:
        """Return x + attention(norm(x)) + mlp(norm(x)), with + cross(x, encoder_output) in parallel if there is one."""
        assert (encoder_output is None) == (self.cross is None)
        normed_BTC = self.norm(x_BTC)
        attention_BTC: Tensor = self.attention_out(_self_attention(self.qkv(normed_BTC), self.shape, angles, mask))
        output_BTC = x_BTC + attention_BTC + _apply_mlp(self.mlp, normed_BTC, self.shape)
        return output_BTC if self.cross is None else output_BTC + self.cross(x_BTC, encoder_output)

    def mlp(self, normed_BTC: Tensor) -> Tensor:
        """Apply the MLP: (B, T, C)."""
        return cast("Tensor", self.mlp_out(functional.gelu(self.mlp_in(normed_BTC), approximate="tanh")))


class LlamaBlock(nn.Module):
    """Llama's layer: RMSNorm, attention with grouped queries, RMSNorm, SwiGLU (Touvron et al. 2023); no biases."""

    def __init__(self, shape: BlockShape, *, cross_attention: bool) -> None:
        super().__init__()
        self.shape = shape
        self.attention_norm = shape.norm()
        self.qkv = _qkv(shape)
        self.attention_out = nn.Linear(shape.width, shape.width, bias=False)
        self.mlp_norm = shape.norm()
        self.mlp_gate = nn.Linear(shape.width, shape.mlp_width, bias=False)
        self.mlp_in = nn.Linear(shape.width, shape.mlp_width, bias=False)
        self.mlp_out = nn.Linear(shape.mlp_width, shape.width, bias=False)
        self.cross = CrossAttention(shape) if cross_attention else None

    def forward(
        self, x_BTC: Tensor, angles: Angles, mask: Attention, encoder_output: EncoderOutput | None = None
    ) -> Tensor:
        """Add attention(norm(x)), then cross(x, encoder_output) if there is one, then mlp(norm(x))."""
        assert (encoder_output is None) == (self.cross is None)
        qkv = self.qkv(self.attention_norm(x_BTC))
        x_BTC = x_BTC + self.attention_out(_self_attention(qkv, self.shape, angles, mask))
        if self.cross is not None:
            x_BTC = x_BTC + self.cross(x_BTC, encoder_output)
        return x_BTC + _apply_mlp(self.mlp, self.mlp_norm(x_BTC), self.shape)

    def mlp(self, normed_BTC: Tensor) -> Tensor:
        """Apply the MLP: (B, T, C)."""
        return cast("Tensor", self.mlp_out(functional.silu(self.mlp_gate(normed_BTC)) * self.mlp_in(normed_BTC)))


class CrossAttention(nn.Module):
    """Attention from decoder positions to an encoder's output: a norm of its own, no rotary positions, no biases."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.shape = shape
        self.norm = shape.norm()
        self.query = nn.Linear(shape.width, shape.width, bias=False)
        self.key_value = nn.Linear(shape.width, 2 * shape.key_value_heads * shape.head_width, bias=False)
        self.out = nn.Linear(shape.width, shape.width, bias=False)

    def forward(self, x_BTC: Tensor, encoder_output: EncoderOutput) -> Tensor:
        """Return what is added to the states: (B, T, C)."""
        query_BHTD = _heads(self.query(self.norm(x_BTC)), self.shape.head_width)
        key_BKSD, value_BKSD = _heads(self.key_value(encoder_output.states_BSC), self.shape.head_width).chunk(2, dim=1)
        attended_BHTD = encoder_output.mask.attend(_scaled(query_BHTD, self.shape), key_BKSD, value_BKSD)
        output_BTC: Tensor = self.out(attended_BHTD.transpose(1, 2).flatten(2))
        return output_BTC


BLOCKS: dict[str, type[GPTJBlock] | type[LlamaBlock]] = {"gptj": GPTJBlock, "llama": LlamaBlock}


def _apply_mlp(mlp: Callable[[Tensor], Tensor], normed_BTC: Tensor, shape: BlockShape) -> Tensor:
    if shape.recomputes_mlp and torch.is_grad_enabled():
        return cast("Tensor", checkpoint(mlp, normed_BTC, use_reentrant=False, preserve_rng_state=False))
    return mlp(normed_BTC)


def _qkv(shape: BlockShape) -> nn.Linear:
    """Build one projection for all queries, then all keys, then all values."""
    return nn.Linear(shape.width, (shape.heads + 2 * shape.key_value_heads) * shape.head_width, bias=False)


def _self_attention(qkv_BTX: Tensor, shape: BlockShape, angles: Angles, mask: Attention) -> Tensor:
    """Apply self-attention to the projections and concatenate the heads: (B, T, C)."""
    sizes = [shape.heads, shape.key_value_heads, shape.key_value_heads]
    query_BHTD, key_BKTD, value_BKTD = torch.split(_heads(qkv_BTX, shape.head_width), sizes, dim=1)
    query_BHTD = _scaled(rotate(query_BHTD, *angles), shape)
    return mask.attend(query_BHTD, rotate(key_BKTD, *angles), value_BKTD).transpose(1, 2).flatten(2)


def _scaled(query_BHTD: Tensor, shape: BlockShape) -> Tensor:
    return query_BHTD if shape.query_multiplier == 1 else query_BHTD * shape.query_multiplier


def _heads(x_BTX: Tensor, head_width: int) -> Tensor:
    """Reshape (B, T, X · D) to (B, X, T, D)."""
    return x_BTX.view(*x_BTX.shape[:2], x_BTX.shape[2] // head_width, head_width).transpose(1, 2)
