"""Folders of made-up text."""

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
