"""Measure the data path: rows, the index of a large corpus, cleaning, and tokenizing relative to other libraries.

    python bench/data.py [--only rows|index|tokenizing|cleaning] [--rounds 3]

Rows: train tokens per second of `TrainBatches` (objective `mixed`, window 2 048, batches of 8 rows), in this process
and from one loader worker, and the memory used besides mapped files, for sources of 10 million and 1 billion tokens.
Index: the time to open a sparse file of 10^11 tokens and read row 10^9 (rows of 100 tokens).
Tokenizing: 100 MB of Python from installed packages with GPT-2's vocabulary, on all cores. Peers are `encode_batch` and
`encode_batch_fast` of `tokenizers` (256 texts in memory, ids not fetched) and `datasets.map` (one process per core).
Ours goes from the prepared corpus to checksummed shards.
Cleaning: the search for HumanEval's problems, and near-duplicates among a million random signatures, of which a tenth
are similar. All figures are medians of alternating rounds.
"""

import argparse
import json
import os
import shutil
import statistics
import struct
import subprocess
import sysconfig
import tempfile
import time
import zlib
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
from rich.progress import Progress

from ablate.config.parse import composed_from_container
from ablate.config.trial import TrialConfig
from ablate.data.batches.stream import Stream
from ablate.data.batches.train_batches import TrainBatches
from ablate.data.corpus.contamination import Contamination
from ablate.data.corpus.corpus import prepared_corpus
from ablate.data.corpus.near_duplicates import PERMUTATIONS, near_duplicates, signature
from ablate.data.corpus.token_file import TokenFile, write_token_file
from ablate.data.tokens.shards import Shards, open_shards, shard_folder
from ablate.data.tokens.token_source import TokenSource
from ablate.grid.expand import default_container
from ablate.grid.resolve import Resolver
from ablate.records.provenance import machine
from ablate.training.loader import batch_loader

WINDOW_TOKENS, BATCH_ROWS, STEPS = 2048, 8, 400
CORPUS_BYTES = 100_000_000
QUIET = Progress(disable=True)


def trial_of(*overrides: str) -> TrialConfig:
    """A trial, its corpus read."""
    trial = composed_from_container(default_container(*overrides)).trial
    return Resolver(Path("runs"), lambda _: None)(trial)


class Simulated(Shards):
    """Create shards with a single source."""

    tokens: TokenSource

    def source(self, source: str) -> TokenSource:
        """The same for all."""
        return self.tokens


def simulated(shards: Shards, folder: Path, tokens: int) -> Shards:
    """Random tokens in documents of 1 500."""
    rng = np.random.default_rng(0)
    documents = (rng.integers(300, 4000, size=1500, dtype=np.int32) for _ in range(tokens // 1500))
    simulated = Simulated(shards.folder, shards.config)
    file = write_token_file(folder / f"{tokens}.bin", documents, shards.config.vocab_size)
    object.__setattr__(simulated, "tokens", TokenSource((file,), file.documents))
    return simulated


def anonymous_bytes() -> int:
    """What this process holds in memory that no file backs."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("Anonymous:")]
    return int(line.split()[1]) * 1024


def rows(folder: Path, rounds: int) -> None:
    """Prints the rate of rows and their memory."""
    shape = (f"scale.window_tokens={WINDOW_TOKENS}", f"budget.rows_per_step={BATCH_ROWS}", "objective=mixed")
    trial = trial_of("scale=1b", "tokenizer.mask_sentinels=600", "hardware=cpu", "budget.train_tokens=1e9", *shape)
    real = open_shards(trial)
    print(f"\n{'rows':38} {'M tokens/s':>10} {'MB held':>8}  must reach 3 M a core")
    cases = {"embedded corpus": real}
    for tokens in (10**7, 10**9):
        cases[f"{tokens // 10**6} M random tokens"] = simulated(real, folder, tokens)
    for name, shards in cases.items():
        steps = TrainBatches(trial, shards)
        rates = []
        for number in range(rounds):
            started = time.perf_counter()
            for step in range(number * STEPS, (number + 1) * STEPS):
                steps[step]
            rates.append(STEPS * BATCH_ROWS * WINDOW_TOKENS / (time.perf_counter() - started) / 1e6)
        print(f"{name + ', in the process':38} {statistics.median(rates):10.2f} {anonymous_bytes() / 1e6:8.0f}")
    rates = []
    for number in range(rounds):
        loader = iter(batch_loader(TrainBatches(trial, real), first_step=number * STEPS, workers=1))
        next(loader)
        started = time.perf_counter()
        for _ in range(STEPS):
            next(loader)
        rates.append(STEPS * BATCH_ROWS * WINDOW_TOKENS / (time.perf_counter() - started) / 1e6)
        del loader
    print(f"{'embedded corpus, from a worker':38} {statistics.median(rates):10.2f}")


def index(folder: Path, rounds: int) -> None:
    """Prints how long row 10^9 of 10^11 tokens takes from nothing open."""
    documents, length, row_tokens = 10**7, 10_000, 100
    path = folder / "large.bin"
    with path.open("wb") as file:
        file.truncate(2 * documents * length)
    with path.with_suffix(".idx").open("wb") as file:
        file.write(struct.pack("<9sQBQQ", b"MMIDIDX\x00\x00", 1, 8, documents, documents + 1))
        file.write(np.full(documents, length, "<i4").tobytes())
        file.write((np.arange(documents, dtype="<i8") * (2 * length)).tobytes())
        file.write(np.arange(documents + 1, dtype="<i8").tobytes())
    with path.with_suffix(".crc32").open("wb") as file:
        blocks = -(-2 * documents * length // 4096)
        for first in range(0, blocks, 10**6):
            file.write(np.full(min(10**6, blocks - first), zlib.crc32(bytes(4096)), "<u4").tobytes())
    trial = trial_of(f"scale.window_tokens={row_tokens}", "mixture=code", "budget.train_tokens=1e11")
    real = open_shards(trial)
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        shards = Simulated(real.folder, real.config)
        file_ = TokenFile(path, path.with_suffix(".crc32"))
        object.__setattr__(shards, "tokens", TokenSource((file_,), file_.documents))
        Stream(shards, trial).window(10**9 - 1)
        seconds.append(time.perf_counter() - started)
    print(f"\nrow 10^9 of 10^11 tokens, from nothing open: {1000 * statistics.median(seconds):.1f} ms  must reach 50")


def python_text(path: Path) -> None:
    """Writes 100 MB of Python as JSON lines."""
    left_bytes = CORPUS_BYTES
    with path.open("w") as file:
        for source in sorted(Path(sysconfig.get_path("purelib")).rglob("*.py")):
            text = source.read_text(errors="replace")
            left_bytes -= len(text.encode())
            if left_bytes < 0:
                break
            file.write(json.dumps({"text": text}) + "\n")


def tokenizing(folder: Path, rounds: int) -> None:
    """Prints MB a second of ours and of the peers."""
    import datasets
    from datasets.utils.logging import disable_progress_bar
    from transformers import PreTrainedTokenizerFast

    cores = len(os.sched_getaffinity(0))
    path = folder / "python.jsonl"
    python_text(path)
    overrides = ("corpus=jsonl", f"corpus.sources.text.lines.path={path}", "mixture=text", "tokenizer=gpt2")
    started = time.perf_counter()
    # Resolving a corpus without a manifest prepares it.
    trial = trial_of(*overrides, "corpus.val_fraction=0.001", "corpus.test_fraction=0.001", f"cache_dir={folder}/cache")
    seconds = time.perf_counter() - started
    corpus = prepared_corpus(trial, QUIET)
    print(f"\nreading, hashing and merging 100 MB: {CORPUS_BYTES / seconds / 1e6:.1f} MB/s")
    texts = [document.text for document in corpus.of("train", "text")]
    size_bytes = sum(len(text.encode()) for text in texts)
    vocabulary = open_shards(trial).tokenizer.vocabulary
    disable_progress_bar()
    table = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(folder / "hf"))
    hub = PreTrainedTokenizerFast(tokenizer_object=vocabulary)  # type: ignore[no-untyped-call]

    def mapped() -> None:
        def encoded(rows: dict[str, list[str]]) -> dict[str, list[list[int]]]:
            return {"input_ids": hub(rows["text"], return_attention_mask=False, return_token_type_ids=False).input_ids}

        table.map(encoded, batched=True, num_proc=cores, remove_columns=["text"], load_from_cache_file=False)

    def ours() -> None:
        shutil.rmtree(shard_folder(trial))
        open_shards(trial)

    def in_batches(encode: Callable[..., object]) -> None:
        # Use all cores: after a fork, tokenizers disables its threads by default.
        os.environ["TOKENIZERS_PARALLELISM"] = "true"
        # One batch of all texts is slower: its encodings fill the memory.
        for first in range(0, len(texts), 256):
            encode(texts[first : first + 256], add_special_tokens=False)
        del os.environ["TOKENIZERS_PARALLELISM"]

    ways: dict[str, Callable[[], object]] = {
        "tokenizers.encode_batch": lambda: in_batches(vocabulary.encode_batch),
        "tokenizers.encode_batch_fast": lambda: in_batches(vocabulary.encode_batch_fast),
        "datasets.map": mapped,
        "ours, to checksummed shards": ours,
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - started)
    rates = {name: size_bytes / statistics.median(rounds) / 1e6 for name, rounds in taken.items()}
    mine = rates["ours, to checksummed shards"]
    print(f"{f'tokenizing {size_bytes / 1e6:.0f} MB, {cores} cores':38} {'MB/s':>8} {'ours over it':>13}")
    wanted = {"tokenizers.encode_batch": "must reach 0.9", "datasets.map": "must reach 1.5"}
    for name, rate in rates.items():
        print(f"{name:38} {rate:8.2f} {mine / rate:12.2f}×  {wanted.get(name, '')}")


def cleaning(folder: Path, rounds: int) -> None:
    """Print the time of the two slow cleaning steps, on one core."""
    path = folder / "python.jsonl"
    python_text(path)
    with path.open() as file:
        texts = [json.loads(line)["text"] for line in islice(file, 1500)]
    size_bytes = sum(len(text.encode()) for text in texts)
    contamination = Contamination.of(("humaneval",))
    ways: dict[str, Callable[[str], object]] = {"HumanEval's problems": contamination.hit, "signatures": signature}
    print()
    for name, way in ways.items():
        seconds = median_seconds(rounds, lambda way=way: [way(text) for text in texts])  # type: ignore[misc]
        print(f"{f'cleaning, {name}':38} {size_bytes / seconds / 1e6:8.2f} MB/s")
    signatures = np.random.default_rng(0).integers(0, 2**32, (10**6, PERMUTATIONS), np.uint32)
    # A tenth of them are similar to another.
    signatures[: 10**5, ::10] = signatures[10**5 : 2 * 10**5, ::10]
    signatures[: 10**5, 1::2] = signatures[10**5 : 2 * 10**5, 1::2]
    for threshold in (0.7, 0.85):
        seconds = median_seconds(rounds, lambda threshold=threshold: near_duplicates(signatures, threshold))  # type: ignore[misc]
        print(f"{f'cleaning, 10^6 signatures from {threshold}':38} {seconds:8.2f} s")


def median_seconds(rounds: int, work: Callable[[], object]) -> float:
    """What it takes."""
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


PARTS: dict[str, Callable[[Path, int], None]] = {
    "rows": rows,
    "index": index,
    "tokenizing": tokenizing,
    "cleaning": cleaning,
}


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(PARTS), help="one of the parts")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    print(f"commit {commit}, {machine()}, numpy {np.__version__}")
    for name in [chosen.only] if chosen.only else PARTS:
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
            PARTS[name](Path(folder), chosen.rounds)


if __name__ == "__main__":
    main()
