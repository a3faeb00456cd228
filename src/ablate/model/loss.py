"""Cross-entropy without the whole matrix of logits.

Shapes: `N` positions, `C` width, `V` vocabulary.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


def summed_nll(hidden_NC: Tensor, head: nn.Linear, target_N: Tensor, weight_N: Tensor) -> Tensor:
    """Σ w·nll in nats over positions whose weight is 1; a weight is 0 or 1.

    torch's chunked kernel makes the gradient in the forward pass, so that only one chunk of logits exists at a time.
    """
    wanted_N = weight_N > 0
    # Dropping the positions without loss first costs a copy and saves their share of the largest product.
    return functional.linear_cross_entropy(
        hidden_NC[wanted_N],
        head.weight,
        target_N[wanted_N],
        linear_bias=head.bias,
        reduction="sum",
        options=nn.LinearCrossEntropyOptions(),
    )


@torch.no_grad()
def nll_per_position(hidden_NC: Tensor, head: nn.Linear, target_N: Tensor, chunk_positions: int = 2048) -> Tensor:
    """The nll of each position in nats, fp32: (N,). For scoring; no gradient."""
    chunks = [slice(first, first + chunk_positions) for first in range(0, len(target_N), chunk_positions)]
    return torch.cat(
        [functional.cross_entropy(head(hidden_NC[part]).float(), target_N[part], reduction="none") for part in chunks]
    )
