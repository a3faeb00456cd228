"""Cross-entropy that never holds the whole matrix of logits.

Shapes: `N` positions, `C` width, `V` vocabulary.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ablate.model.attention import product_dtype

# The logits of a chunk fit in a CPU cache.
CHUNK_POSITIONS = 256


def summed_nll(hidden_NC: Tensor, head: nn.Linear, target_N: Tensor, weight_N: Tensor) -> Tensor:
    """Return Σ nll in nats over positions whose weight is 1; a weight is 0 or 1. The head may have a bias.

    Both paths compute the gradient in the forward pass: only one chunk of logits exists at a time. Autocast does not
    reach torch's chunked kernel, so under autocast the products are computed here.
    """
    has_loss_N = weight_N > 0
    # Positions without loss are dropped first: a copy costs less than their part of the largest product.
    hidden_NC, target_N = hidden_NC[has_loss_N], target_N[has_loss_N]
    dtype = product_dtype(hidden_NC)
    if dtype in (torch.bfloat16, torch.float16):
        nll: Tensor = _ChunkedNll.apply(hidden_NC, head.weight, head.bias, target_N, dtype)  # type: ignore[no-untyped-call]
        return nll
    return functional.linear_cross_entropy(
        hidden_NC,
        head.weight,
        target_N,
        linear_bias=head.bias,
        reduction="sum",
        options=nn.LinearCrossEntropyOptions(),
    )


class _ChunkedNll(torch.autograd.Function):
    """Sums nll with products in a narrow dtype, softmax and sums in fp32."""

    @staticmethod
    def forward(
        ctx: Any, hidden_NC: Tensor, weight_VC: Tensor, bias_V: Tensor | None, target_N: Tensor, dtype: torch.dtype
    ) -> Tensor:
        narrow_VC = weight_VC.to(dtype)
        narrow_V = None if bias_V is None else bias_V.to(dtype)
        by_hidden_NC = torch.empty_like(hidden_NC)
        by_weight_VC = torch.zeros_like(weight_VC)
        by_bias_V = None if bias_V is None else torch.zeros_like(bias_V)
        nll = torch.zeros((), device=hidden_NC.device)
        for first in range(0, len(target_N), CHUNK_POSITIONS):
            part = slice(first, first + CHUNK_POSITIONS)
            narrow_nC, target_n1 = hidden_NC[part].to(dtype), target_N[part, None]
            logit_nV = functional.linear(narrow_nC, narrow_VC, narrow_V)
            # The log-normaliser is derived from the softmax's largest term: exponentials are computed once.
            by_logit_nV = logit_nV.softmax(-1, dtype=torch.float32)
            best_n1, at_n1 = logit_nV.max(-1, keepdim=True)
            nll += (best_n1.float() - by_logit_nV.gather(1, at_n1).log() - logit_nV.gather(1, target_n1)).sum()
            by_logit_nV.scatter_add_(1, target_n1, -torch.ones_like(target_n1, dtype=torch.float32))
            if by_bias_V is not None:
                by_bias_V += by_logit_nV.sum(0)
            narrow_nV = by_logit_nV.to(dtype)
            by_hidden_NC[part] = narrow_nV @ narrow_VC
            by_weight_VC += narrow_nV.mT @ narrow_nC
        ctx.save_for_backward(by_hidden_NC, by_weight_VC, by_bias_V)
        return nll

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return *(None if part is None else part * gradient for part in ctx.saved_tensors), None, None


@torch.no_grad()
def nll_and_first_choices(
    hidden_NC: Tensor, head: nn.Linear, target_N: Tensor, chunk_positions: int = 2048
) -> tuple[Tensor, Tensor]:
    """Return each position's nll in nats, fp32, and whether its target has the highest logit: (N,) each."""
    nll, is_first_choice = [], []
    for first in range(0, max(1, len(target_N)), chunk_positions):
        part = slice(first, first + chunk_positions)
        logits_NV = head(hidden_NC[part]).float()
        nll.append(functional.cross_entropy(logits_NV, target_N[part], reduction="none"))
        is_first_choice.append(logits_NV.argmax(-1) == target_N[part])
    return torch.cat(nll), torch.cat(is_first_choice)
