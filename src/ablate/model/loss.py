"""Cross-entropy that never holds the whole matrix of logits.

Shapes: `N` positions, `C` width, `V` vocabulary.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ablate.model.attention import product_dtype

# The logits of a chunk fit in a CPU's cache; a GPU needs larger products, and has room for this many bytes of logits.
CPU_CHUNK_POSITIONS = 256
GPU_CHUNK_BYTES = 2**30


def chunk_positions(vocabulary: int, device_type: str) -> int:
    """Return how many positions' fp32 logits exist at a time."""
    if device_type == "cpu":
        return CPU_CHUNK_POSITIONS
    return max(CPU_CHUNK_POSITIONS, GPU_CHUNK_BYTES // (4 * vocabulary))


def chunk_bytes(positions: int, vocabulary: int, width: int, precision: str, device_type: str) -> int:
    """Return the bytes that the loss of so many positions allocates: a chunk of logits, and the head's gradient."""
    logits = min(positions, chunk_positions(vocabulary, device_type)) * vocabulary
    # In bf16: logits, their softmax in fp32, its gradient in bf16, the head in bf16, and a product for its gradient.
    if precision == "bf16":
        return 8 * logits + (2 + 2 + 4) * vocabulary * width
    return 8 * logits + 2 * 4 * vocabulary * width


def summed_nll(hidden_NC: Tensor, head: nn.Linear, target_N: Tensor, z_loss: float = 0.0) -> Tensor:
    """Return Σ nll in nats over the positions. The head may have a bias.

    With `z_loss` the gradient is that of Σ nll + z_loss · Σ z², where z is the log-normaliser of a position's logits
    (Chowdhery et al. 2022, section 5). The value stays Σ nll, which is comparable between trials.

    Both paths compute the gradient in the forward pass: only one chunk of logits exists at a time. Autocast does not
    reach torch's chunked kernel, so under autocast the products are computed here.
    """
    dtype = product_dtype(hidden_NC)
    # Before torch 2.13 there is no chunked kernel.
    chunked: Any = getattr(functional, "linear_cross_entropy", None)
    if dtype in (torch.bfloat16, torch.float16) or chunked is None or z_loss > 0:
        nll: Tensor = _ChunkedNll.apply(hidden_NC, head.weight, head.bias, target_N, dtype, z_loss)  # type: ignore[no-untyped-call]
        return nll
    options = nn.LinearCrossEntropyOptions()
    loss: Tensor = chunked(hidden_NC, head.weight, target_N, linear_bias=head.bias, reduction="sum", options=options)
    return loss


class _ChunkedNll(torch.autograd.Function):
    """Sums nll with products in a narrow dtype, softmax and sums in fp32."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_NC: Tensor,
        weight_VC: Tensor,
        bias_V: Tensor | None,
        target_N: Tensor,
        dtype: torch.dtype,
        z_loss: float,
    ) -> Tensor:
        narrow_VC = weight_VC.to(dtype)
        narrow_V = None if bias_V is None else bias_V.to(dtype)
        by_hidden_NC = torch.empty_like(hidden_NC)
        # In fp32 where the weights are narrow, too: it sums over chunks.
        by_weight_VC = torch.zeros_like(weight_VC, dtype=torch.float32)
        by_bias_V = None if bias_V is None else torch.zeros_like(bias_V, dtype=torch.float32)
        nll = torch.zeros((), device=hidden_NC.device)
        positions = chunk_positions(len(weight_VC), hidden_NC.device.type)
        for first in range(0, len(target_N), positions):
            part = slice(first, first + positions)
            narrow_nC, target_n1 = hidden_NC[part].to(dtype), target_N[part, None]
            logit_nV = functional.linear(narrow_nC, narrow_VC, narrow_V)
            # The log-normaliser is derived from the softmax's largest term: exponentials are computed once.
            by_logit_nV = logit_nV.softmax(-1, dtype=torch.float32)
            best_n1, at_n1 = logit_nV.max(-1, keepdim=True)
            normaliser_n1 = best_n1.float() - by_logit_nV.gather(1, at_n1).log()
            nll += (normaliser_n1 - logit_nV.gather(1, target_n1)).sum()
            if z_loss > 0:
                by_logit_nV *= 1 + 2 * z_loss * normaliser_n1
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
        return *(None if part is None else part * gradient for part in ctx.saved_tensors), None, None, None


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
