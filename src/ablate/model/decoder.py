"""A decoder: causal, or bidirectional within spans.

Shapes: `B` rows, `T` positions, `C` width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from ablate.config.trial import TrialConfig
from ablate.model.attention import Attention, AttentionMask, product_dtype
from ablate.model.blocks import BlockShape
from ablate.model.cache import Caches, KeyValueCache
from ablate.model.language_model import LanguageModel
from ablate.model.rotary import Angles
from ablate.model.transfer import to_device


@dataclass(frozen=True)
class DecoderInputs:
    """Tokens, (B, T), with their rotary angles and what attends in each layer."""

    input_ids_BT: Tensor
    angles: Angles
    attentions: Sequence[Attention]


class Decoder(LanguageModel[DecoderInputs]):
    """Token embedding, blocks, a last norm, an untied head: CodeGen's with `gptj` blocks, Llama's with `llama` ones.

    A prefix decoder and a causal decoder have the same weights; only the first honours bidirectional spans.
    """

    def __init__(self, trial: TrialConfig, vocabulary: int) -> None:
        super().__init__(trial, vocabulary)
        shape = self.shape = BlockShape.of(trial)
        self.honours_spans = trial.architecture.honours_bidirectional_spans
        self.blocks = nn.ModuleList(shape.block() for _ in range(trial.scale.n_layers))
        self.norm = shape.norm()
        self.head = shape.head(vocabulary)

    def inputs(self, document_BT: Tensor, span_BT: Tensor, input_ids_BT: Tensor, position_BT: Tensor) -> DecoderInputs:
        """See `LanguageModel`."""
        device, dtype = self.head.weight.device, product_dtype(self.head.weight)
        mask = AttentionMask.from_segments(document_BT, span_BT, dtype, self.honours_spans, self.attention, device)
        angles = self._angles(to_device(position_BT, device))
        return DecoderInputs(to_device(input_ids_BT, device), angles, [mask] * len(self.blocks))

    def states(self, inputs: DecoderInputs) -> Tensor:
        """See `LanguageModel`."""
        x_BTC: Tensor = self.embedding(inputs.input_ids_BT)
        for block, attention in zip(self.blocks, inputs.attentions, strict=True):
            x_BTC = self._apply_block(block, x_BTC, inputs.angles, attention)
        return self._scaled(self.norm(x_BTC))

    def caches(self, rows: int, positions: int) -> Caches:
        """See `LanguageModel`."""
        weight = self.head.weight
        return (
            KeyValueCache.empty(len(self.blocks), rows, positions, self.shape, product_dtype(weight), weight.device),
        )

    def recording(
        self, inputs: DecoderInputs, tokens: int, span_tokens: int, caches: Caches, row: int
    ) -> DecoderInputs:
        """See `LanguageModel`."""
        [cache] = caches
        return replace(inputs, attentions=cache.recording(inputs.attentions, row, tokens))

    def next_inputs(self, token_B: Tensor, caches: Caches) -> DecoderInputs:
        """See `LanguageModel`."""
        [cache] = caches
        rows, device = len(token_B), self.head.weight.device
        angles = self._angles(to_device(cache.length_B[:rows, None], device))
        return DecoderInputs(to_device(token_B, device)[:, None], angles, cache.appending(rows))
