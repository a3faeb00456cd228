"""Measure how fast rows are built, in train tokens per second and core, relative to a common T5 collator.

    python bench/transforms.py [--rows 1600] [--rounds 5]

Ours goes from a row's window (context 2 048, two documents of real text) to a packed batch of 8 rows: infill, task,
concatenation, targets, weights, segments, positions, bidirectional spans. The peer is the span corruption of the
`transformers` examples, reimplemented here: row by row with numpy (noise mask by random segmentation, sentinels by
cumulative sums, filtered inputs and labels), without segments, positions or weights. It treats a row as one segment, as
ours does with scope=context ("whole"). One thread; medians of several alternating rounds, each after a warm-up.
"""

import argparse
import multiprocessing
import statistics
import subprocess
import time

import numpy as np
from numpy.typing import NDArray

from ablate.config.parse import composed_from_container
from ablate.data.batches.batch import pack
from ablate.data.tokens.shards import Shards, open_shards
from ablate.grid.expand import default_container
from ablate.objectives.example import Tokens
from ablate.objectives.objective import Objective, RowTransform
from ablate.records.provenance import machine

CONTEXT, BATCH_ROWS = 2048, 8
WHOLE = "span_corruption, whole"
# What is measured, its overrides, and the million source tokens a second that it must reach.
CASES: dict[str, tuple[tuple[str, ...], float | None]] = {
    "causal": (("objective=causal",), None),
    "prefix": (("objective=prefix",), None),
    "mixed": (("objective=mixed",), 10.0),
    "mixed_prefix": (("objective=mixed_prefix",), None),
    "span_corruption": (("objective=span_corruption",), None),
    WHOLE: (("objective=span_corruption", "objective.tasks.span_corruption.scope=context"), None),
    "ul2_modes": (("objective=ul2_modes",), None),
    "infill=psm, token": (("infill=psm", "infill.rate=1.0", "infill.level=token"), 5.0),
    "infill=joint, token": (("infill=joint", "infill.rate=1.0", "infill.level=token"), 5.0),
    "infill=sentinel, token": (("infill=sentinel", "infill.rate=1.0"), 5.0),
    "infill=psm, char": (("infill=psm", "infill.rate=1.0", "infill.level=char"), 1.0),
    "infill=psm, line": (("infill=psm", "infill.rate=1.0", "infill.level=line"), None),
}
PEER = "peer: T5 collator"


def t5_collator(rows: list[Tokens], rng: np.random.Generator, *, ratio: float, mean: float) -> dict[str, Tokens]:
    """Inputs with sentinels and labels of rows of one length: (B, …) each."""
    length, first_sentinel = len(rows[0]), 5000
    noised = min(max(round(length * ratio), 1), length - 1)
    spans = max(round(noised / mean), 1)

    def segments(items: int, parts: int) -> NDArray[np.int64]:
        starts = np.arange(items - 1) < parts - 1
        rng.shuffle(starts)
        ids = np.cumsum(np.pad(starts, [[1, 0]]))
        return np.unique(ids, return_counts=True)[1]

    def mask() -> NDArray[np.int64]:
        lengths = np.stack([segments(length - noised, spans), segments(noised, spans)], axis=1).reshape(-1)
        starts = np.zeros(length, np.int8)
        starts[np.cumsum(lengths)[:-1]] = 1
        return np.cumsum(starts, dtype=np.int64) % 2

    def with_sentinels(ids: NDArray[np.int32], is_noise: NDArray[np.int8]) -> NDArray[np.int32]:
        first: NDArray[np.int8] = is_noise - np.roll(is_noise, 1, axis=-1) * is_noise
        first[:, 0] = is_noise[:, 0]
        sentinels = np.where(first != 0, np.cumsum(first, axis=-1), first)
        sentinels = np.where(sentinels != 0, first_sentinel - sentinels, 0) - (is_noise - first)
        merged = np.where(sentinels != 0, sentinels, ids)
        kept = merged[merged >= 0].reshape(len(ids), -1)
        return np.concatenate([kept, np.full((len(ids), 1), 1, np.int32)], axis=-1)

    ids = np.stack(rows)
    masks = np.stack([mask() for _ in rows]).astype(np.int8)
    return {
        "input_ids": with_sentinels(ids, masks),
        "labels": with_sentinels(ids, (1 - masks).astype(np.int8)),
    }


def windows(shards: Shards, count: int) -> list[tuple[Tokens, tuple[int, ...]]]:
    """Windows of real text, each of parts of two documents."""
    source = shards.source("code")
    firsts = (row * CONTEXT % (source.tokens - CONTEXT) for row in range(count))
    return [(source.read(first, first + CONTEXT), (1200, CONTEXT - 1200)) for first in firsts]


def measured(name: str, row_count: int) -> float:
    """Seconds for so many rows of a case or the peer."""
    overrides = CASES[name][0] if name in CASES else ()
    trial = composed_from_container(default_container("scale=1b", "tokenizer.mask_sentinels=600", *overrides)).trial
    shards = open_shards(composed_from_container(default_container("tokenizer.mask_sentinels=600")).trial)
    rows = windows(shards, row_count)
    rng = np.random.default_rng(0)
    transform = RowTransform(Objective.of(trial), shards.tokenizer.special, 0, shards.tokenizer.splitter)

    def ours(first: int) -> None:
        examples_and_tasks = [
            transform.example(first + row, *window) for row, window in enumerate(rows[first : first + BATCH_ROWS])
        ]
        examples, tasks = zip(*examples_and_tasks, strict=True)
        pack(examples, tasks=tasks, sources=[0] * len(examples), context_tokens=2 * CONTEXT)

    def peer(first: int) -> None:
        t5_collator([window for window, _ in rows[first : first + BATCH_ROWS]], rng, ratio=0.15, mean=3.0)

    batch = peer if name == PEER else ours
    for first in range(0, row_count // 4, BATCH_ROWS):
        batch(first)
    started = time.perf_counter()
    for first in range(0, row_count, BATCH_ROWS):
        batch(first)
    return time.perf_counter() - started


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1600)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    print(f"{chosen.rows} windows of {CONTEXT} tokens, commit {commit}, {machine()}, numpy {np.__version__}")
    open_shards(composed_from_container(default_container("tokenizer.mask_sentinels=600")).trial)
    seconds: dict[str, list[float]] = {name: [] for name in (*CASES, PEER)}
    # One process per case: the allocator's state after a case changes the next case's time by up to 1.6 times.
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as fresh:
        for _ in range(chosen.rounds):
            for name, rounds in seconds.items():
                rounds.append(fresh.apply(measured, (name, chosen.rows)))
    print(f"{'':24} {'M tokens/s':>10}  {'of the peer':>11}  must reach")
    of_peer = statistics.median(seconds[PEER])
    for name, rounds in seconds.items():
        median = statistics.median(rounds)
        target = CASES[name][1] if name in CASES else None
        wanted = f"{target:g} M/s" if target else "2 × the peer" if name == WHOLE else ""
        print(f"{name:24} {chosen.rows * CONTEXT / median / 1e6:10.2f}  {of_peer / median:10.2f}×  {wanted}")


if __name__ == "__main__":
    main()
