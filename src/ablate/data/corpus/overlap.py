"""How much of a held-out document occurs word for word in train documents.

The measure is that of GPT-3 (Brown et al. 2020, appendix C): 13-grams of words that also occur in the training text.
Words are runs of letters, digits and underscores in lower case, as in `contamination`.

Shapes: `W` words of a text; `G` grams, in their order: one begins at each word except the last twelve; `N` distinct
grams, ascending.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ablate.data.corpus.document import Document, read_documents
from ablate.data.corpus.preparation_step import Advance
from ablate.data.corpus.recipe import Recipe

GRAM_WORDS = 13
Grams = NDArray[np.uint64]

_words = re.compile(r"\w+")
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


@lru_cache(maxsize=2**20)
def _word_id(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(errors="surrogatepass"), digest_size=8).digest(), "little")


def grams(text: str) -> Grams:
    """Return the hashes of a text's grams, (G,)."""
    id_W = np.array([_word_id(word) for word in _words.findall(text.lower())], np.uint64)
    count = max(0, len(id_W) - GRAM_WORDS + 1)
    gram_G = np.zeros(count, np.uint64)
    for offset in range(GRAM_WORDS):
        # Wraps at 64 bits, as hashes do.
        gram_G = gram_G * _FACTOR + id_W[offset : offset + count]
    return gram_G


def extents(text: str) -> NDArray[np.int64]:
    """Return where each gram starts and ends, in characters: (G, 2)."""
    span_W2 = np.array([match.span() for match in _words.finditer(text)], np.int64).reshape(-1, 2)
    count = max(0, len(span_W2) - GRAM_WORDS + 1)
    return np.stack([span_W2[:count, 0], span_W2[GRAM_WORDS - 1 :, 1][:count]], axis=1)


def isin_sorted(gram_G: Grams, sorted_N: Grams) -> NDArray[np.bool_]:
    """Return which grams are among ascending ones, (G,)."""
    if not len(sorted_N):
        return np.zeros(len(gram_G), bool)
    place_G = np.minimum(np.searchsorted(sorted_N, gram_G), len(sorted_N) - 1)
    return np.asarray(sorted_N[place_G] == gram_G)


@dataclass(frozen=True)
class SeenText:
    """Which grams of a held-out text also occur in the training text.

    Attributes:
        extent_G2: where each gram starts and ends in the text.
        is_seen_G: whether it occurs in the training text.
    """

    extent_G2: NDArray[np.int64]
    is_seen_G: NDArray[np.bool_]

    @classmethod
    def of(cls, document: Document) -> "SeenText | None":
        """Return what the preparation found; None if it did not measure the document's overlap."""
        if document.seen is None:
            return None
        extent_G2 = extents(document.text)
        packed = np.frombuffer(document.seen, np.uint8)
        return cls(extent_G2, np.unpackbits(packed, count=len(extent_G2)).astype(bool))

    def within(self, first: int, last: int) -> tuple[int, int]:
        """Count the grams within characters first … last − 1: those that occur in the training text, and all."""
        inside_G = (self.extent_G2[:, 0] >= first) & (self.extent_G2[:, 1] <= last)
        return int((self.is_seen_G & inside_G).sum()), int(inside_G.sum())


def write_held_out_grams(work: Path, folder: Path, number: int, advance: Advance) -> None:
    """Write the distinct grams of all held-out documents."""
    grams_of_documents = [grams(document.text) for path in _merged(work) for document in _held_out([path])]
    np.save(folder / "grams.npy", np.unique(np.concatenate([np.zeros(0, np.uint64), *grams_of_documents])))
    advance(1)


def find_seen_grams(work: Path, folder: Path, number: int, advance: Advance) -> None:
    """Write the held-out grams that occur in the train documents of one bucket."""
    wanted_N = np.load(work / "grams/00000/grams.npy", mmap_mode="r")
    is_seen_N = np.zeros(len(wanted_N), bool)
    [path] = (work / "merge" / f"{number:05d}").glob("documents.parquet")
    for document in read_documents(path, split="train"):
        gram_G = grams(document.text)
        is_seen_N[np.searchsorted(wanted_N, gram_G[isin_sorted(gram_G, wanted_N)])] = True
    np.save(folder / "seen.npy", wanted_N[is_seen_N])
    recipe = Recipe.read(work)
    advance(recipe.size_bytes // recipe.buckets)


def seen_in_train(work: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the hash of each held-out document, and a bit for each of its grams: whether train documents have it."""
    parts = [np.load(path) for path in sorted((work / "overlap").glob("[0-9]*/seen.npy"))]
    seen_N = np.unique(np.concatenate([np.zeros(0, np.uint64), *parts]))
    for document in _held_out(_merged(work)):
        yield document.sha256, np.packbits(isin_sorted(grams(document.text), seen_N)).tobytes()


def _merged(work: Path) -> list[Path]:
    return sorted((work / "merge").glob("[0-9]*/documents.parquet"))


def _held_out(paths: Iterable[Path]) -> Iterator[Document]:
    for path in paths:
        for split in ("validation", "test"):
            yield from read_documents(path, split=split)
