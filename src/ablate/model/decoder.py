"""A decoder whose visibility is the mask algebra's.

Shapes: `B` rows, `T` positions, `C` width, `V` vocabulary.
"""

from typing import cast

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ablate.config.trial import TrialConfig
from ablate.model.attention import Backend, Visibility, product_dtype
from ablate.model.blocks import BlockShape
from ablate.model.initialisation import initialise
from ablate.model.rotary import rotary_angles


class Decoder(nn.Module):
    """Token embedding, blocks, a last norm, an untied head: CodeGen's with `gptj` blocks, Llama's with `llama` ones.

    `honours_regions` makes it a prefix decoder; without it the same weights are a causal one.
    """

    def __init__(
        self,
        shape: BlockShape,
        *,
        vocabulary: int,
        layers: int,
        rotary_width: int,
        rotary_base: float,
        honours_regions: bool,
        activation_checkpointing: bool,
        attention: Backend,
    ) -> None:
        super().__init__()
        self.rotary_width = rotary_width
        self.rotary_base = rotary_base
        self.honours_regions = honours_regions
        self.activation_checkpointing = activation_checkpointing
        self.attention = attention
        self.embedding = nn.Embedding(vocabulary, shape.width)
        self.blocks = nn.ModuleList(shape.block() for _ in range(layers))
        self.norm = shape.norm()
        self.head = shape.head(vocabulary)

    @classmethod
    def from_config(cls, trial: TrialConfig, vocabulary: int) -> "Decoder":
        """The trial's decoder with parameters drawn from its init seed (none are drawn on the meta device)."""
        decoder = cls(
            BlockShape.of(trial),
            vocabulary=vocabulary,
            layers=trial.scale.n_layers,
            rotary_width=trial.rotary_width,
            rotary_base=trial.block.rotary_base,
            honours_regions=trial.architecture.kind == "prefix_decoder",
            activation_checkpointing=trial.scale.activation_checkpointing,
            attention=trial.hardware.attention,
        )
        if not decoder.head.weight.is_meta:
            initialise(decoder, trial.init_seed, std=trial.scale.init_std)
        return decoder

    def forward(self, input_ids_BT: Tensor, document_BT: Tensor, position_BT: Tensor, region_BT: Tensor) -> Tensor:
        """The last hidden states, normed: (B, T, C). `head` turns them into logits."""
        x_BTC: Tensor = self.embedding(input_ids_BT)
        angles = rotary_angles(position_BT, self.rotary_width, self.rotary_base)
        dtype = product_dtype(x_BTC)
        visibility = Visibility.of(document_BT, region_BT, dtype, self.honours_regions, self.attention)
        for block in self.blocks:
            if self.activation_checkpointing and self.training:
                x_BTC = cast("Tensor", checkpoint(block, x_BTC, angles, visibility, use_reentrant=False))
            else:
                x_BTC = block(x_BTC, angles, visibility)
        return cast("Tensor", self.norm(x_BTC))
