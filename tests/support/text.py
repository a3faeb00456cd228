"""Folders of made-up text."""

import gzip
import json
from pathlib import Path

import numpy as np

WORDS = [
    "def",
    "return",
    "the",
    "and",
    "of",
    "lambda",
    "unto",
    "import",
    "self",
    "verily",
    "class",
    "yield",
    "thou",
    "x",
]


def write_text(folder: Path, documents: int, seed: int) -> Path:
    """Documents of random words, no two alike."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(documents):
        words = rng.choice(WORDS, size=rng.integers(40, 160))
        (folder / f"{number:03}.txt").write_text(f"{number} é\n" + " ".join(words) + "\n")
    return folder


def write_lines(path: Path, documents: int, seed: int) -> Path:
    """JSON lines of random words, an object per document; compressed where the name says so."""
    import zstandard

    rng = np.random.default_rng(seed)
    texts = [f"{number} é {' '.join(rng.choice(WORDS, size=rng.integers(40, 160)))}" for number in range(documents)]
    data = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
    if path.suffix == ".zst":
        data = zstandard.compress(data)
    elif path.suffix == ".gz":
        data = gzip.compress(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
