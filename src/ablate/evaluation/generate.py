"""Text that a model writes after a prompt, one token at a time.

Each token is read with all before it, without a cache of keys and values: simple, and the same for every architecture.

Shapes: `T` tokens, `V` vocabulary.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ablate.data.batches.batch import Batch
from ablate.model.build import Model
from ablate.objectives.example import Tokens
from ablate.objectives.prompt import Prompt


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        max_tokens: when to end.
        temperature: what logits are divided by; 0 takes the most likely token.
        top_p: sample from the fewest tokens that together have this probability.
        seed: of the draws.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Generated:
    """What a model wrote.

    Attributes:
        tokens_T: without the token that ended it.
        ended_by: the token that ended it; None at `max_tokens`.
    """

    tokens_T: Tokens
    ended_by: int | None


def generate(model: Model, prompt: Prompt, sampling: Sampling, ends: Collection[int]) -> Generated:
    """Write after a prompt.

    Args:
        model: in evaluation mode. It reads at most prompt + `max_tokens` − 1 tokens, which the caller fits into its
            context.
        prompt: in the form that the model was trained with.
        sampling: how tokens are chosen.
        ends: tokens that end the text.
    """
    rng = torch.Generator().manual_seed(sampling.seed)
    tokens_T, start = prompt.tokens_T, len(prompt.tokens_T)
    for _ in range(sampling.max_tokens):
        logits_V = model.next_logits(_batch(tokens_T, prompt.bidirectional_tokens))[0].cpu()
        token = choose(logits_V, sampling, rng)
        if token in ends:
            return Generated(tokens_T[start:], token)
        tokens_T = np.append(tokens_T, np.int32(token))
    return Generated(tokens_T[start:], None)


def choose(logits_V: Tensor, sampling: Sampling, rng: torch.Generator) -> int:
    """Choose a token by its logits."""
    if sampling.temperature == 0:
        return int(logits_V.argmax())
    probability_V, token_V = (logits_V.double() / sampling.temperature).softmax(-1).sort(descending=True)
    # The most likely token stays, however likely it is.
    before_V = probability_V.cumsum(-1) - probability_V
    kept_V = probability_V.masked_fill(before_V >= sampling.top_p, 0.0)
    return int(token_V[torch.multinomial(kept_V, 1, generator=rng)])


def _batch(tokens_T: Tokens, bidirectional_tokens: int) -> Batch:
    ids_BT = tokens_T[None]
    none_BT, unused_B = np.zeros(ids_BT.shape, np.int32), np.zeros(1, np.int32)
    position_BT = np.arange(ids_BT.shape[1], dtype=np.int32)[None]
    span_BT = (position_BT < bidirectional_tokens).astype(np.int32)
    weight_BT = np.zeros(ids_BT.shape, np.float32)
    return Batch(ids_BT, none_BT, weight_BT, np.ones_like(ids_BT), position_BT, span_BT, unused_B, unused_B)
