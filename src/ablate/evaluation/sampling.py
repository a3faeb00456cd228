"""How the next token is chosen.

Shapes: `B` rows, `V` vocabulary, `N` most likely tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# Sorting the whole vocabulary costs more than the rest of a step; trained models rarely need more tokens than this.
LIKELY_TOKENS = 128


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: what logits are divided by; 0 takes the most likely token.
        top_p: sample from the fewest tokens that together have this probability (Holtzman et al. 2020).
        seed: of the draws.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


def choose(logits_BV: Tensor, uniform_B: Tensor, sampling: Sampling) -> Tensor:
    """Choose a token of each row by its logits.

    Args:
        logits_BV: in fp32.
        uniform_B: a number in [0, 1) per row, in fp64: the draw. It inverts the cumulative probability of the tokens,
            by falling probability where `top_p` < 1, else by id.
        sampling: how.

    Returns:
        The tokens, (B,), on the device of the logits.
    """
    if sampling.temperature == 0:
        return logits_BV.argmax(-1)
    probability_BV = (logits_BV / sampling.temperature).softmax(-1)
    uniform_B = uniform_B.to(logits_BV.device)
    if sampling.top_p == 1:
        return _drawn(probability_BV.cumsum(-1, dtype=torch.float64), uniform_B)
    likely = probability_BV.topk(min(LIKELY_TOKENS, probability_BV.shape[1]))
    token_B = _nucleus(*likely, uniform_B, sampling.top_p)
    is_short_B = likely.values.sum(-1, dtype=torch.float64) < sampling.top_p
    if bool(is_short_B.any()):
        ordered = probability_BV[is_short_B].sort(descending=True, stable=True)
        token_B[is_short_B] = _nucleus(*ordered, uniform_B[is_short_B], sampling.top_p)
    return token_B


def _nucleus(probability_BN: Tensor, token_BN: Tensor, uniform_B: Tensor, top_p: float) -> Tensor:
    """Draw among the first tokens that together have `top_p`; the first stays, however likely it is."""
    upto_BN = probability_BN.cumsum(-1, dtype=torch.float64)
    is_kept_BN = upto_BN - probability_BN < top_p
    kept_BN = probability_BN.masked_fill(~is_kept_BN, 0.0).cumsum(-1, dtype=torch.float64)
    return token_BN.gather(1, _drawn(kept_BN, uniform_B)[:, None])[:, 0]


def _drawn(upto_BN: Tensor, uniform_B: Tensor) -> Tensor:
    """Return the first index whose cumulative weight exceeds the draw's part of the total."""
    total_B1 = upto_BN[:, -1:].contiguous()
    index_B1 = torch.searchsorted(upto_BN, uniform_B[:, None] * total_B1, right=True)
    # Where rounding makes the product the total itself, the last token with weight.
    return index_B1.minimum(torch.searchsorted(upto_BN, total_B1))[:, 0]
