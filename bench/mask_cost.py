"""What bidirectional spans and segments cost: a training step with them beside a plainly causal one.

    python bench/mask_cost.py [--precision bf16|fp32] [--block gptj|llama] [--pairs 31] [--compile]

17M parameters, context 512, 8 rows, two threads. Rows of two or three segments, each with a prefix of a random share,
against rows of one segment without any; tokens and asked positions are the same. Steps alternate; the figure is the
median of the pairs' ratios. The encoder-decoder on the same rows is shown besides: it does other work.
"""

import argparse
import statistics
import time
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from ablate.config.parse import composed_from_container
from ablate.grid.expand import default_container
from ablate.model.build import Model, build_model
from ablate.model.loss import summed_nll
from ablate.training.optimizer import adamw

LAYERS, WIDTH, HEADS, VOCABULARY, CONTEXT, ROWS = 8, 384, 6, 4096, 512, 8
THREADS = 2
Rows = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def make_rows(seed: int) -> tuple[Rows, Rows]:
    """Plain rows and such with bidirectional spans: ids, documents, positions, bidirectional spans and asked positions, (B, T) each."""
    rng = np.random.default_rng(seed)
    document, span, asked = (np.zeros((ROWS, CONTEXT), np.int64) for _ in range(3))
    for row in range(ROWS):
        borders = [0, *sorted(rng.choice(np.arange(64, CONTEXT - 64), rng.integers(1, 3), replace=False)), CONTEXT]
        for segment, (first, end) in enumerate(pairwise(borders), start=1):
            after_prefix = first + int(rng.uniform() * (end - first))
            document[row, first:end] = span[row, first:after_prefix] = segment
            asked[row, max(first, after_prefix - 1) : end - 1] = 1
    ids = rng.integers(0, VOCABULARY, (ROWS, CONTEXT))
    position = np.tile(np.arange(CONTEXT), (ROWS, 1))
    plain = (ids, np.ones_like(ids), position, np.zeros_like(ids), asked)
    return _tensors(plain), _tensors((ids, document, position, span, asked))


def _tensors(arrays: tuple[NDArray[np.int64], ...]) -> Rows:
    ids, document, position, span, asked = map(torch.from_numpy, arrays)
    return ids, document, position, span, asked


class Training:
    """A model, its optimizer and the precision of its products."""

    def __init__(self, architecture: str, block: str, precision: str, *, compiled: bool) -> None:
        container = default_container(f"architecture={architecture}", f"block={block}", f"precision={precision}")
        container["scale"] |= {"n_layers": LAYERS, "d_model": WIDTH, "n_heads": HEADS, "context_tokens": CONTEXT}
        container["tokenizer"]["vocab_size"] = VOCABULARY
        self.trial = composed_from_container(container).trial
        self.model: Model = build_model(self.trial, VOCABULARY)
        self.optimizer = adamw(self.model, self.trial.optimizer)
        if compiled:
            self.model.compile()

    def step(self, rows: Rows) -> float:
        """Trains on these rows; how many seconds it took."""
        *inputs, asked = rows
        targets = inputs[0].roll(-1, 1)
        started = time.perf_counter()
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.trial.precision == "bf16"):
            hidden = self.model(*inputs)
            loss = summed_nll(hidden.flatten(0, 1), self.model.head, targets.flatten(), asked.flatten()) / asked.sum()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return time.perf_counter() - started


def main() -> None:
    """Prints each pair and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--block", choices=["gptj", "llama"], default="gptj")
    parser.add_argument("--pairs", type=int, default=31)
    parser.add_argument("--compile", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(THREADS)
    decoder, both = (
        Training(architecture, chosen.block, chosen.precision, compiled=chosen.compile)
        for architecture in ("prefix_decoder", "encoder_decoder")
    )
    ratios, others = [], []
    for pair in range(-2, chosen.pairs):
        plain, spans = make_rows(pair + 2)
        if pair % 2:
            with_spans, without = decoder.step(spans), decoder.step(plain)
        else:
            without, with_spans = decoder.step(plain), decoder.step(spans)
        encoded = both.step(spans)
        if pair < 0:
            continue
        ratios.append(with_spans / without)
        others.append(encoded / without)
        print(f"  plain {without:.3f} s   spans {with_spans:.3f} s   ratio {ratios[-1]:.3f}", flush=True)
    print(f"spans: median ratio {statistics.median(ratios):.3f} (from {min(ratios):.3f} to {max(ratios):.3f})")
    print(f"encoder-decoder beside the plain decoder: median ratio {statistics.median(others):.3f}")


if __name__ == "__main__":
    main()
