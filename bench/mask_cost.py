"""Measure the cost of bidirectional spans and segments: a training step with them relative to a causal one.

    python bench/mask_cost.py [--precision bf16|fp32] [--block gptj|llama] [--pairs 31] [--compile]

17M parameters, context 512, 8 rows, two threads. Rows of two or three segments, each with a prefix of random length,
are compared with rows of one segment and no prefix; tokens and loss positions are the same. Steps alternate; the result
is the median ratio of the pairs. The encoder-decoder's ratio on the same rows is printed too, though it does more work.
"""

import argparse
import statistics
import time
from itertools import pairwise

import numpy as np
import torch

from ablate.config.parse import composed_from_container
from ablate.data.batches.batch import Batch
from ablate.grid.expand import default_container
from ablate.model.build import Model, build_model
from ablate.training.optimizer import adamw

LAYERS, WIDTH, HEADS, VOCABULARY, CONTEXT, ROWS = 8, 384, 6, 4096, 512, 8
THREADS = 2


def make_batches(seed: int) -> tuple[Batch, Batch]:
    """Draw a causal batch and one with bidirectional spans, with the same tokens and loss positions."""
    rng = np.random.default_rng(seed)
    document, span = (np.zeros((ROWS, CONTEXT), np.int32) for _ in range(2))
    loss_weight = np.zeros((ROWS, CONTEXT), np.float32)
    for row in range(ROWS):
        borders = [0, *sorted(rng.choice(np.arange(64, CONTEXT - 64), rng.integers(1, 3), replace=False)), CONTEXT]
        for segment, (first, end) in enumerate(pairwise(borders), start=1):
            after_prefix = first + int(rng.uniform() * (end - first))
            document[row, first:end] = span[row, first:after_prefix] = segment
            loss_weight[row, max(first, after_prefix - 1) : end - 1] = 1
    ids = rng.integers(0, VOCABULARY, (ROWS, CONTEXT), np.int32)
    targets = np.roll(ids, -1, axis=1)
    position = np.tile(np.arange(CONTEXT, dtype=np.int32), (ROWS, 1))
    index = np.zeros(ROWS, np.int32)
    causal = Batch(ids, targets, loss_weight, np.ones_like(ids), position, np.zeros_like(ids), index, index)
    return causal, Batch(ids, targets, loss_weight, document, position, span, index, index)


class Training:
    """A model and its optimizer."""

    def __init__(self, architecture: str, block: str, precision: str, *, compiled: bool) -> None:
        container = default_container(f"architecture={architecture}", f"block={block}", f"precision={precision}")
        container["scale"] |= {"n_layers": LAYERS, "d_model": WIDTH, "n_heads": HEADS, "context_tokens": CONTEXT}
        container["tokenizer"]["vocab_size"] = VOCABULARY
        self.trial = composed_from_container(container).trial
        self.model: Model = build_model(self.trial, VOCABULARY)
        self.optimizer = adamw(self.model, self.trial.optimizer)
        if compiled:
            self.model.compile_blocks()

    def step(self, batch: Batch) -> float:
        """Train on a batch and return the seconds."""
        started = time.perf_counter()
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.trial.precision == "bf16"):
            loss = self.model.loss(batch) / float(batch.loss_weight_BT.sum())
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return time.perf_counter() - started


def main() -> None:
    """Print each pair and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--block", choices=["gptj", "llama"], default="gptj")
    parser.add_argument("--pairs", type=int, default=31)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    decoder, encoder_decoder = (
        Training(architecture, options.block, options.precision, compiled=options.compile)
        for architecture in ("prefix_decoder", "encoder_decoder")
    )
    ratios, encoder_decoder_ratios = [], []
    for pair in range(-2, options.pairs):
        causal, spans = make_batches(pair + 2)
        if pair % 2:
            with_spans, without = decoder.step(spans), decoder.step(causal)
        else:
            without, with_spans = decoder.step(causal), decoder.step(spans)
        encoded = encoder_decoder.step(spans)
        if pair < 0:
            continue
        ratios.append(with_spans / without)
        encoder_decoder_ratios.append(encoded / without)
        print(f"  causal {without:.3f} s   spans {with_spans:.3f} s   ratio {ratios[-1]:.3f}", flush=True)
    print(f"spans: median ratio {statistics.median(ratios):.3f} (from {min(ratios):.3f} to {max(ratios):.3f})")
    print(f"encoder-decoder over the causal decoder: median ratio {statistics.median(encoder_decoder_ratios):.3f}")


if __name__ == "__main__":
    main()
