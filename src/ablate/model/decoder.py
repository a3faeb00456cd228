"""A decoder: causal, or bidirectional within spans.

Shapes: `B` rows, `T` positions, `C` width.
"""

from typing import cast

from torch import Tensor, nn

from ablate.config.trial import TrialConfig
from ablate.model.attention import AttentionMask, product_dtype
from ablate.model.blocks import BlockShape
from ablate.model.language_model import LanguageModel


class Decoder(LanguageModel):
    """Token embedding, blocks, a last norm, an untied head: CodeGen's with `gptj` blocks, Llama's with `llama` ones.

    A prefix decoder and a causal decoder have the same weights; only the first honours bidirectional spans.
    """

    def __init__(self, trial: TrialConfig, vocabulary: int) -> None:
        super().__init__(trial, vocabulary)
        shape = BlockShape.of(trial)
        self.honours_spans = trial.architecture.honours_bidirectional_spans
        self.blocks = nn.ModuleList(shape.block() for _ in range(trial.scale.n_layers))
        self.norm = shape.norm()
        self.head = shape.head(vocabulary)

    def forward(self, input_ids_BT: Tensor, document_BT: Tensor, position_BT: Tensor, span_BT: Tensor) -> Tensor:
        """Return the last hidden states, normed: (B, T, C)."""
        x_BTC: Tensor = self.embedding(input_ids_BT)
        angles = self._angles(position_BT)
        dtype = product_dtype(x_BTC)
        mask = AttentionMask.from_segments(document_BT, span_BT, dtype, self.honours_spans, self.attention)
        for block in self.blocks:
            x_BTC = self._apply_block(block, x_BTC, angles, mask)
        return cast("Tensor", self.norm(x_BTC))
