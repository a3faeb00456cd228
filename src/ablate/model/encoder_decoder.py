"""An encoder that reads the regions and a decoder that reads everything else, in one row.

Region tokens pass the encoder, where those of one region see one another. All other tokens, and the last token of each
region, which starts what follows it, pass the decoder: they see what the decoder read of their segment so far, and
what of its regions lies before them. That is what the mask algebra lets a prefix decoder see at the same position.

Both parts work on the tokens that are theirs, moved together at the front of a row, so that cost is that of the tokens.

Shapes: `B` rows, `T` positions, `S` slots of the encoder, `U` slots of the decoder, `C` width, `V` vocabulary.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ablate.config.trial import TrialConfig
from ablate.model.attention import Backend, Visibility, product_dtype, run_bounds
from ablate.model.blocks import Angles, BlockShape, Memory
from ablate.model.initialisation import initialise
from ablate.model.rotary import rotary_angles


@dataclass(frozen=True)
class Slots:
    """Which positions of each row are one part's, moved together at its front.

    Attributes:
        taken_BT: true for the part's positions.
        before_BT: how many of them lie before a position.
        position_BS: where each slot's token stands; T for an empty slot.
    """

    taken_BT: Tensor
    before_BT: Tensor
    position_BS: Tensor

    @classmethod
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def of(cls, taken_BT: Tensor) -> "Slots":
        """The slots of some positions; never none, as a product wants at least one."""
        upto_BT = taken_BT.long().cumsum(1)
        slots = -(-max(1, int(upto_BT.max())) // 8) * 8
        rows, length = taken_BT.shape
        place_BT = (upto_BT - 1).where(taken_BT, slots)
        positions_BT = torch.arange(length, device=taken_BT.device).expand(rows, length)
        position_BS = torch.full((rows, slots + 1), length, device=taken_BT.device)
        return cls(taken_BT, upto_BT - taken_BT.long(), position_BS.scatter_(1, place_BT, positions_BT)[:, :slots])

    @property
    def count(self) -> int:
        """S."""
        return self.position_BS.shape[1]

    def gather(self, values_BT: Tensor, empty: int = 0) -> Tensor:
        """The values at the slots' positions, (B, S)."""
        return torch.nn.functional.pad(values_BT, (0, 1), value=empty).gather(1, self.position_BS)

    def scatter(self, states_BSC: Tensor) -> Tensor:
        """The slots' states at their positions and zeros elsewhere, (B, T, C)."""
        place_BT1 = self.before_BT.clamp(max=self.count - 1)[..., None]
        states_BTC = states_BSC.gather(1, place_BT1.expand(-1, -1, states_BSC.shape[-1]))
        return states_BTC.masked_fill(~self.taken_BT[..., None], 0.0)


@dataclass(frozen=True)
class Parts:
    """How the positions of a batch fall to encoder and decoder, and who sees whom.

    Attributes:
        encoder: slots of region tokens.
        decoder: slots of other tokens and each region's last.
        encoder_BS: intervals of encoder slots that encoder slots see.
        decoder_BU: intervals of decoder slots that decoder slots see.
        cross_BU: intervals of encoder slots that decoder slots see.
    """

    encoder: Slots
    decoder: Slots
    encoder_BS: tuple[Tensor, Tensor]
    decoder_BU: tuple[Tensor, Tensor]
    cross_BU: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, document_BT: Tensor, region_BT: Tensor) -> "Parts":
        """The parts of a batch; padding is nobody's."""
        in_region_BT = (region_BT > 0) & (document_BT > 0)
        region_first_BT, region_end_BT = run_bounds(region_BT)
        segment_first_BT, _ = run_bounds(document_BT)
        next_BT = torch.arange(1, document_BT.shape[1] + 1, device=document_BT.device).expand(document_BT.shape)
        encoder = Slots.of(in_region_BT)
        decoder = Slots.of((document_BT > 0) & (~in_region_BT | (region_end_BT == next_BT)))

        def between(slots: Slots, asking: Slots, first_BT: Tensor, end_BT: Tensor) -> tuple[Tensor, Tensor]:
            # How many slots lie before a position, for the position after the last one too.
            before_BX = torch.cat([slots.before_BT, slots.taken_BT.sum(1, keepdim=True)], 1)
            first_BS, end_BS = (asking.gather(before_BX.gather(1, bound_BT)) for bound_BT in (first_BT, end_BT))
            return first_BS, end_BS

        return cls(
            encoder,
            decoder,
            encoder_BS=between(encoder, encoder, region_first_BT, region_end_BT),
            decoder_BU=between(decoder, decoder, segment_first_BT, next_BT),
            cross_BU=between(encoder, decoder, segment_first_BT, next_BT),
        )


class EncoderDecoder(nn.Module):
    """One token embedding, an encoder with a last norm, a decoder that crosses to it, a last norm, an untied head."""

    honours_regions = True

    def __init__(
        self,
        shape: BlockShape,
        *,
        vocabulary: int,
        encoder_layers: int,
        layers: int,
        rotary_width: int,
        rotary_base: float,
        activation_checkpointing: bool,
        attention: Backend,
    ) -> None:
        super().__init__()
        self.rotary_width = rotary_width
        self.rotary_base = rotary_base
        self.activation_checkpointing = activation_checkpointing
        self.attention = attention
        self.embedding = nn.Embedding(vocabulary, shape.width)
        self.encoder_blocks = nn.ModuleList(shape.block() for _ in range(encoder_layers))
        self.encoder_norm = shape.norm()
        self.blocks = nn.ModuleList(shape.block(crosses=True) for _ in range(layers))
        self.norm = shape.norm()
        self.head = shape.head(vocabulary)

    @classmethod
    def from_config(cls, trial: TrialConfig, vocabulary: int) -> "EncoderDecoder":
        """The trial's model with parameters drawn from its init seed (none are drawn on the meta device)."""
        model = cls(
            BlockShape.of(trial),
            vocabulary=vocabulary,
            encoder_layers=trial.architecture.encoder_layers,
            layers=trial.scale.n_layers,
            rotary_width=trial.rotary_width,
            rotary_base=trial.block.rotary_base,
            activation_checkpointing=trial.scale.activation_checkpointing,
            attention=trial.hardware.attention,
        )
        if not model.head.weight.is_meta:
            initialise(model, trial.init_seed, std=trial.scale.init_std)
        return model

    def forward(self, input_ids_BT: Tensor, document_BT: Tensor, position_BT: Tensor, region_BT: Tensor) -> Tensor:
        """The decoder's last hidden states, normed, and zeros where only the encoder read: (B, T, C)."""
        parts = Parts.of(document_BT, region_BT)

        def embedded(slots: Slots) -> tuple[Tensor, Angles]:
            angles = rotary_angles(slots.gather(position_BT), self.rotary_width, self.rotary_base)
            return self.embedding(slots.gather(input_ids_BT)), angles

        def seen(intervals: tuple[Tensor, Tensor], keys: Slots) -> Visibility:
            dtype = product_dtype(self.embedding.weight)
            return cast("Visibility", Visibility.between(*intervals, keys.count, dtype, self.attention))

        x_BSC, angles = embedded(parts.encoder)
        visibility = seen(parts.encoder_BS, parts.encoder)
        for block in self.encoder_blocks:
            x_BSC = self._through(block, x_BSC, angles, visibility, None)
        memory = Memory(self.encoder_norm(x_BSC), seen(parts.cross_BU, parts.encoder))
        x_BUC, angles = embedded(parts.decoder)
        visibility = seen(parts.decoder_BU, parts.decoder)
        for block in self.blocks:
            x_BUC = self._through(block, x_BUC, angles, visibility, memory)
        return parts.decoder.scatter(self.norm(x_BUC))

    def _through(
        self, block: nn.Module, x_BTC: Tensor, angles: Angles, visibility: Visibility, memory: Memory | None
    ) -> Tensor:
        if self.activation_checkpointing and self.training:
            return cast("Tensor", checkpoint(block, x_BTC, angles, visibility, memory, use_reentrant=False))
        return cast("Tensor", block(x_BTC, angles, visibility, memory))
