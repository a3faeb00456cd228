"""The layer of the CodeGen family.

Shapes: `B` rows, `T` positions, `C` width, `H` heads, `D` head width.
"""

from torch import Tensor, nn
from torch.nn import functional

from ablate.model.attention import Visibility, attend
from ablate.model.rotary import rotate


class GPTJBlock(nn.Module):
    """GPT-J's layer: one LayerNorm feeds attention and MLP in parallel; no bias in the attention's projections."""

    def __init__(self, *, width: int, heads: int, inner_width: int, norm_eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.mlp_in = nn.Linear(width, inner_width)
        self.mlp_out = nn.Linear(inner_width, width)

    def forward(self, x_BTC: Tensor, angles: tuple[Tensor, Tensor], visibility: Visibility) -> Tensor:
        """x + attention(norm(x)) + mlp(norm(x))."""
        normed_BTC = self.norm(x_BTC)
        query, key, value = self.qkv(normed_BTC).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed_BHTD = attend(rotate(query, *angles), rotate(key, *angles), value, visibility)
        attention_BTC: Tensor = self.attention_out(mixed_BHTD.transpose(1, 2).flatten(2))
        mlp_BTC: Tensor = self.mlp_out(functional.gelu(self.mlp_in(normed_BTC), approximate="tanh"))
        return x_BTC + attention_BTC + mlp_BTC
