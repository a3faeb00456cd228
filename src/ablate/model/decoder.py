"""A decoder whose visibility is the mask algebra's.

Shapes: `B` rows, `T` positions, `C` width, `V` vocabulary.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ablate.config import TrialConfig
from ablate.model.attention import Visibility
from ablate.model.blocks import GPTJBlock
from ablate.model.initialisation import initialise
from ablate.model.rotary import rotary_angles


class Decoder(nn.Module):
    """CodeGen's decoder: token embedding, blocks, a last LayerNorm, an untied head with a bias.

    `honours_regions` makes it a prefix decoder; without it the same weights are a causal one.
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        layers: int,
        width: int,
        heads: int,
        rotary_width: int,
        inner_width: int,
        norm_eps: float,
        honours_regions: bool,
        activation_checkpointing: bool,
    ) -> None:
        super().__init__()
        self.rotary_width = rotary_width
        self.honours_regions = honours_regions
        self.activation_checkpointing = activation_checkpointing
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(
            GPTJBlock(width=width, heads=heads, inner_width=inner_width, norm_eps=norm_eps) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.head = nn.Linear(width, vocabulary)

    @classmethod
    def from_config(cls, trial: TrialConfig, vocabulary: int) -> "Decoder":
        """The trial's decoder with parameters drawn from its init seed (none are drawn on the meta device)."""
        decoder = cls(
            vocabulary=vocabulary,
            layers=trial.scale.layers,
            width=trial.scale.width,
            heads=trial.scale.heads,
            rotary_width=trial.rotary_width,
            inner_width=round(trial.block.inner_ratio * trial.scale.width),
            norm_eps=trial.block.norm_eps,
            honours_regions=trial.architecture.kind == "prefix_decoder",
            activation_checkpointing=trial.scale.activation_checkpointing,
        )
        if not decoder.head.weight.is_meta:
            initialise(decoder, trial.init_seed, std=trial.scale.init_std)
        return decoder

    def forward(self, input_ids_BT: Tensor, document_BT: Tensor, position_BT: Tensor, region_BT: Tensor) -> Tensor:
        """The last hidden states, normed: (B, T, C). `head` turns them into logits."""
        x_BTC: Tensor = self.embedding(input_ids_BT)
        angles = rotary_angles(position_BT, self.rotary_width)
        # The mask is as wide as the products it is added to, or attention falls back to its slow path.
        dtype = torch.get_autocast_dtype(x_BTC.device.type) if torch.is_autocast_enabled(x_BTC.device.type) else None
        visibility = Visibility.of(document_BT, region_BT, dtype or x_BTC.dtype, self.honours_regions)
        for block in self.blocks:
            if self.activation_checkpointing and self.training:
                x_BTC = cast("Tensor", checkpoint(block, x_BTC, angles, visibility, use_reentrant=False))
            else:
                x_BTC = block(x_BTC, angles, visibility)
        return cast("Tensor", self.norm(x_BTC))
