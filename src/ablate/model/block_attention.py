"""Attention by matrix products over blocks of queries, the fastest on a CPU.

On a CPU torch's fused kernel takes as long for causal attention as for full attention, and its backward pass runs at a
quarter of the speed of a matrix product (LOG.md). Here a block of queries is multiplied with the keys that any of them
attends to and no other: causal attention costs half, short segments less. Weights are kept for the backward pass.

Shapes: `B` rows, `H` heads, `Q` queries, `S` keys, `D` head width, `J` jobs.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

BLOCK_QUERIES = 192


def block_jobs(first_BQ: Tensor, end_BQ: Tensor) -> Tensor:
    """List the products to compute: row, first query, end of queries, first key, end of keys: (J, 5), on the CPU.

    Args:
        first_BQ: the first key of each query.
        end_BQ: the key after its last one; a query without keys needs no product.
    """
    jobs = []
    for query in range(0, first_BQ.shape[1], BLOCK_QUERIES):
        first_BX, end_BX = (bound_BQ[:, query : query + BLOCK_QUERIES] for bound_BQ in (first_BQ, end_BQ))
        has_keys_BX = end_BX > first_BX
        first_B = first_BX.masked_fill(~has_keys_BX, torch.iinfo(torch.int64).max).amin(1)
        end_B = end_BX.masked_fill(~has_keys_BX, 0).amax(1)
        for row, (first, end) in enumerate(zip(first_B.tolist(), end_B.tolist(), strict=True)):
            if first < end:
                jobs.append((row, query, query + first_BX.shape[1], first, end))
    return torch.tensor(jobs, dtype=torch.int64).view(-1, 5)


@torch.library.custom_op("ablate::block_attention", mutates_args=())
def block_attention(
    query_BHQD: Tensor, key_BHSD: Tensor, value_BHSD: Tensor, bias_BQS: Tensor, jobs_J5: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute scaled dot-product attention, (B, H, Q, D), and its weights, job after job in one vector.

    Args:
        query_BHQD: queries.
        key_BHSD: keys.
        value_BHSD: values.
        bias_BQS: 0 where a query attends to a key, −inf elsewhere.
        jobs_J5: the result of `block_jobs`.
    """
    scale = query_BHQD.shape[-1] ** -0.5
    output_BHQD = torch.zeros_like(query_BHQD)
    # Long enough for all pairs. Parts that no job writes are never touched and take no memory.
    kept = query_BHQD.new_empty(query_BHQD[..., 0].numel() * key_BHSD.shape[2])
    for (row, query, key), weight_Hqs in _jobs(jobs_J5, query_BHQD.shape[1], kept):
        torch.baddbmm(
            bias_BQS[row, query, key],
            query_BHQD[row, :, query],
            key_BHSD[row, :, key].mT,
            alpha=scale,
            out=weight_Hqs,
        )
        torch.softmax(weight_Hqs, -1, out=weight_Hqs)
        torch.bmm(weight_Hqs, value_BHSD[row, :, key], out=output_BHQD[row, :, query])
    return output_BHQD, kept


@torch.library.custom_op("ablate::block_attention_backward", mutates_args=())
def block_attention_backward(
    gradient_BHQD: Tensor, query_BHQD: Tensor, key_BHSD: Tensor, value_BHSD: Tensor, kept: Tensor, jobs_J5: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients of queries, keys and values."""
    scale = query_BHQD.shape[-1] ** -0.5
    by_query_BHQD, by_key_BHSD, by_value_BHSD = map(torch.zeros_like, (query_BHQD, key_BHSD, value_BHSD))
    for (row, query, key), weight_Hqs in _jobs(jobs_J5, query_BHQD.shape[1], kept):
        gradient_HqD = gradient_BHQD[row, :, query]
        by_value_BHSD[row, :, key].baddbmm_(weight_Hqs.mT, gradient_HqD)
        by_weight_Hqs = gradient_HqD @ value_BHSD[row, :, key].mT
        by_score_Hqs = torch._softmax_backward_data(by_weight_Hqs, weight_Hqs, -1, weight_Hqs.dtype)
        by_query_BHQD[row, :, query].baddbmm_(by_score_Hqs, key_BHSD[row, :, key], alpha=scale)
        by_key_BHSD[row, :, key].baddbmm_(by_score_Hqs.mT, query_BHQD[row, :, query], alpha=scale)
    return by_query_BHQD, by_key_BHSD, by_value_BHSD


def _jobs(jobs_J5: Tensor, heads: int, kept: Tensor) -> Iterator[tuple[tuple[int, slice, slice], Tensor]]:
    """Iterate over the jobs: row, queries and keys, and the view that holds the job's weights."""
    start = 0
    for row, query, end_query, key, end_key in jobs_J5.tolist():
        shape = (heads, end_query - query, end_key - key)
        size = shape[0] * shape[1] * shape[2]
        yield (row, slice(query, end_query), slice(key, end_key)), kept[start : start + size].view(shape)
        start += size


@block_attention.register_fake
def _shapes(
    query_BHQD: Tensor, key_BHSD: Tensor, value_BHSD: Tensor, bias_BQS: Tensor, jobs_J5: Tensor
) -> tuple[Tensor, Tensor]:
    kept = query_BHQD.new_empty(query_BHQD[..., 0].numel() * key_BHSD.shape[2])
    return torch.empty_like(query_BHQD), kept


@block_attention_backward.register_fake
def _backward_shapes(
    gradient_BHQD: Tensor, query_BHQD: Tensor, key_BHSD: Tensor, value_BHSD: Tensor, kept: Tensor, jobs_J5: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(query_BHQD), torch.empty_like(key_BHSD), torch.empty_like(value_BHSD)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    query_BHQD, key_BHSD, value_BHSD, _, jobs_J5 = inputs
    ctx.save_for_backward(query_BHQD, key_BHSD, value_BHSD, output[1], jobs_J5)
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, gradient_BHQD: Tensor, _: None) -> tuple[Tensor | None, ...]:
    return *block_attention_backward(gradient_BHQD, *ctx.saved_tensors), None, None


block_attention.register_autograd(_backward, setup_context=_keep)
