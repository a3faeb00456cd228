"""An encoder that reads bidirectional spans and a decoder that reads everything else, in one row.

Tokens of a span pass the encoder, where they attend to their whole span. All other tokens, and the last token of each
span, which predicts the one after it, pass the decoder: they attend to earlier decoder tokens of their segment and to
earlier encoder tokens of it. At these positions a prefix decoder attends to the same tokens.

Each part works on its own tokens, packed at the front of a row, and costs what these tokens cost.

Shapes: `B` rows, `T` positions, `S` slots of the encoder, `U` slots of the decoder, `C` width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from ablate.config.trial import TrialConfig
from ablate.model.attention import Attention, AttentionMask, product_dtype, run_bounds
from ablate.model.blocks import BlockShape, EncoderOutput
from ablate.model.cache import Caches, KeyValueCache
from ablate.model.language_model import LanguageModel
from ablate.model.rotary import Angles
from ablate.model.transfer import to_device


@dataclass(frozen=True)
class Slots:
    """The positions of each row that one part reads, packed at the row's front.

    Attributes:
        taken_BT: true for the part's positions.
        before_BT: number of them before each position.
        position_BS: position of each slot's token; T for an empty slot.
    """

    taken_BT: Tensor
    before_BT: Tensor
    position_BS: Tensor

    @classmethod
    def of(cls, taken_BT: Tensor) -> "Slots":
        """Assign slots to positions; at least one slot, because a product needs one."""
        upto_BT = taken_BT.long().cumsum(1)
        slots = -(-max(1, int(upto_BT.max())) // 8) * 8
        rows, length = taken_BT.shape
        slot_BT = (upto_BT - 1).where(taken_BT, slots)
        positions_BT = torch.arange(length, device=taken_BT.device).expand(rows, length)
        position_BS = torch.full((rows, slots + 1), length, device=taken_BT.device)
        return cls(taken_BT, upto_BT - taken_BT.long(), position_BS.scatter_(1, slot_BT, positions_BT)[:, :slots])

    @property
    def count(self) -> int:
        """The number of slots, S."""
        return self.position_BS.shape[1]

    def on(self, device: torch.device) -> "Slots":
        """Return a copy on the device."""
        return Slots(**{name: to_device(value, device) for name, value in vars(self).items()})

    def gather(self, values_BT: Tensor, empty: int = 0) -> Tensor:
        """Return the values at the slots' positions, (B, S)."""
        return functional.pad(values_BT, (0, 1), value=empty).gather(1, self.position_BS)

    def scatter(self, states_BSC: Tensor) -> Tensor:
        """Return the slots' states at their positions and zeros elsewhere, (B, T, C)."""
        slot_BT1 = self.before_BT.clamp(max=self.count - 1)[..., None]
        states_BTC = states_BSC.gather(1, slot_BT1.expand(-1, -1, states_BSC.shape[-1]))
        return states_BTC.masked_fill(~self.taken_BT[..., None], 0.0)


@dataclass(frozen=True)
class Parts:
    """The positions of a batch that encoder and decoder read, and their masks as intervals of keys.

    Attributes:
        encoder: slots of the tokens in spans.
        decoder: slots of all other tokens and the last of each span.
        encoder_BS: encoder slots that each encoder slot attends to.
        decoder_BU: decoder slots that each decoder slot attends to.
        cross_BU: encoder slots that each decoder slot attends to.
    """

    encoder: Slots
    decoder: Slots
    encoder_BS: tuple[Tensor, Tensor]
    decoder_BU: tuple[Tensor, Tensor]
    cross_BU: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, document_BT: Tensor, span_BT: Tensor) -> "Parts":
        """Divide the positions of a batch; padding belongs to no part."""
        in_span_BT = (span_BT > 0) & (document_BT > 0)
        span_first_BT, span_end_BT = run_bounds(span_BT)
        segment_first_BT, _ = run_bounds(document_BT)
        next_BT = torch.arange(1, document_BT.shape[1] + 1, device=document_BT.device).expand(document_BT.shape)
        encoder = Slots.of(in_span_BT)
        decoder = Slots.of((document_BT > 0) & (~in_span_BT | (span_end_BT == next_BT)))

        def intervals(keys: Slots, queries: Slots, first_BT: Tensor, end_BT: Tensor) -> tuple[Tensor, Tensor]:
            # The number of keys before each position, and before the end of the row.
            before_BX = torch.cat([keys.before_BT, keys.taken_BT.sum(1, keepdim=True)], 1)
            first_BS, end_BS = (queries.gather(before_BX.gather(1, bound_BT)) for bound_BT in (first_BT, end_BT))
            return first_BS, end_BS

        return cls(
            encoder,
            decoder,
            encoder_BS=intervals(encoder, encoder, span_first_BT, span_end_BT),
            decoder_BU=intervals(decoder, decoder, segment_first_BT, next_BT),
            cross_BU=intervals(encoder, decoder, segment_first_BT, next_BT),
        )


@dataclass(frozen=True)
class Inputs:
    """What both parts read: their tokens with rotary angles, what attends, and the decoder's slots.

    Attributes:
        encoder: None where caches hold what the decoder needs of it.
        self_attentions: of each decoder layer.
        cross_attentions: of each decoder layer.
        slots: None where the decoder's tokens are all tokens.
    """

    encoder: tuple[Tensor, Angles, AttentionMask] | None
    decoder: tuple[Tensor, Angles]
    self_attentions: Sequence[Attention]
    cross_attentions: Sequence[Attention]
    slots: Slots | None


class EncoderDecoder(LanguageModel[Inputs]):
    """Token embedding, an encoder with its norm, a decoder with cross-attention to it, a last norm, an untied head."""

    def __init__(self, trial: TrialConfig, vocabulary: int) -> None:
        super().__init__(trial, vocabulary)
        shape = self.shape = BlockShape.of(trial)
        self.encoder_blocks = nn.ModuleList(shape.block() for _ in range(trial.architecture.encoder_layers))
        self.encoder_norm = shape.norm()
        self.blocks = nn.ModuleList(shape.block(cross_attention=True) for _ in range(trial.scale.n_layers))
        self.norm = shape.norm()
        self.head = shape.head(vocabulary)

    def inputs(self, document_BT: Tensor, span_BT: Tensor, input_ids_BT: Tensor, position_BT: Tensor) -> Inputs:
        """See `LanguageModel`."""
        parts = Parts.of(document_BT, span_BT)
        device, dtype = self.head.weight.device, product_dtype(self.head.weight)

        def tokens(slots: Slots) -> tuple[Tensor, Angles]:
            angles = self._angles(to_device(slots.gather(position_BT), device))
            return to_device(slots.gather(input_ids_BT), device), angles

        def mask(intervals: tuple[Tensor, Tensor], keys: Slots) -> AttentionMask:
            return AttentionMask.from_intervals(*intervals, keys.count, dtype, self.attention, device)

        return Inputs(
            (*tokens(parts.encoder), mask(parts.encoder_BS, parts.encoder)),
            tokens(parts.decoder),
            [mask(parts.decoder_BU, parts.decoder)] * len(self.blocks),
            [mask(parts.cross_BU, parts.encoder)] * len(self.blocks),
            parts.decoder.on(device),
        )

    def states(self, inputs: Inputs) -> Tensor:
        """Return the decoder's last hidden states, normed, and zeros at positions of the encoder alone: (B, T, C)."""
        input_ids_BU, angles = inputs.decoder
        encoded_BSC = self._encoded(inputs)
        # Not a second call of the module: torch's memory tracker takes one.
        x_BUC = functional.embedding(input_ids_BU, self.embedding.weight)
        layers = zip(self.blocks, inputs.self_attentions, inputs.cross_attentions, strict=True)
        for block, self_attention, cross_attention in layers:
            encoder_output = EncoderOutput(encoded_BSC, cross_attention)
            x_BUC = self._apply_block(block, x_BUC, angles, self_attention, encoder_output)
        hidden_BUC = self._scaled(self.norm(x_BUC))
        return hidden_BUC if inputs.slots is None else inputs.slots.scatter(hidden_BUC)

    def _encoded(self, inputs: Inputs) -> Tensor:
        """Return the encoder's output, (B, S, C); no position where caches hold its keys and values."""
        if inputs.encoder is None:
            rows = len(inputs.decoder[0])
            return self.embedding.weight.new_empty(rows, 0, self.embedding.embedding_dim)
        input_ids_BS, angles, mask = inputs.encoder
        x_BSC = self.embedding(input_ids_BS)
        for block in self.encoder_blocks:
            x_BSC = self._apply_block(block, x_BSC, angles, mask, None)
        encoded_BSC: Tensor = self.encoder_norm(x_BSC)
        return encoded_BSC

    def caches(self, rows: int, positions: int) -> Caches:
        """See `LanguageModel`."""
        weight, layers = self.head.weight, len(self.blocks)
        own, cross = (
            KeyValueCache.empty(layers, rows, positions, self.shape, product_dtype(weight), weight.device)
            for _ in range(2)
        )
        return own, cross

    def recording(self, inputs: Inputs, tokens: int, span_tokens: int, caches: Caches, row: int) -> Inputs:
        """See `LanguageModel`."""
        own, cross = caches
        # The last token of a span is read by both parts.
        decoder_tokens = tokens - max(0, span_tokens - 1)
        return replace(
            inputs,
            self_attentions=own.recording(inputs.self_attentions, row, decoder_tokens),
            cross_attentions=cross.recording(inputs.cross_attentions, row, span_tokens),
        )

    def next_inputs(self, token_B: Tensor, caches: Caches) -> Inputs:
        """See `LanguageModel`."""
        own, cross = caches
        rows, device = len(token_B), self.head.weight.device
        own_B, cross_B = own.length_B[:rows], cross.length_B[:rows]
        position_B = own_B + cross_B - (cross_B > 0).long()
        decoder = (to_device(token_B, device)[:, None], self._angles(to_device(position_B, device)[:, None]))
        return Inputs(None, decoder, own.appending(rows), cross.reading(rows), None)
