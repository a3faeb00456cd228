"""The steps from a corpus to token shards: make the tokenizer, and write the tokens of each range of hashes."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from ablate.config.data import TokenizerConfig
from ablate.data.corpus.cache import read_checked
from ablate.data.corpus.corpus import Corpus
from ablate.data.corpus.document import Document, in_groups, read_documents
from ablate.data.corpus.preparation_step import Advance
from ablate.data.corpus.token_file import write_token_file
from ablate.data.tokens.tokenizer import Tokenizer
from ablate.errors import FailureError
from ablate.files import write_json
from ablate.objectives.example import Tokens

ENCODE_AT_ONCE = 256
# More text of a source than this hardly changes a trained vocabulary.
BPE_BYTES_PER_SOURCE = 100_000_000


@dataclass(frozen=True)
class ShardRecipe:
    """What shards are made from.

    Attributes:
        corpus: folder of a prepared corpus.
        manifest_sha256: of its text.
        buckets: how many ranges of hashes it has.
        sources: their names, sorted.
        tokenizer: its configuration.
        leading_end_of_text: whether `<|endoftext|>` also begins each document.
        has_groups: whether a hash of each document's group is kept beside the tokens.
    """

    corpus: Path
    manifest_sha256: str
    buckets: int
    sources: tuple[str, ...]
    tokenizer: TokenizerConfig
    leading_end_of_text: bool
    has_groups: bool

    @property
    def json(self) -> bytes:
        """The recipe as JSON; equal for equal recipes."""
        return _RECIPE.dump_json(self)

    @classmethod
    def read(cls, work: Path) -> "ShardRecipe":
        """Read the recipe of a work folder."""
        return read_checked(work / "recipe.json", _RECIPE)

    def open_corpus(self) -> Corpus:
        """Open the corpus. Raises FailureError: another command has prepared it again, from other text."""
        corpus = Corpus(self.corpus)
        if corpus.manifest_sha256 != self.manifest_sha256:
            raise FailureError(
                f"{self.corpus}: the corpus was prepared again, from other text, while its tokens were written. Run "
                "the same command again."
            )
        return corpus


_RECIPE = TypeAdapter(ShardRecipe)


def stored_tokenizer(work: Path, config: TokenizerConfig) -> Tokenizer:
    """Return the tokenizer that `make_tokenizer` wrote."""
    return Tokenizer.from_json((work / "tokenizer/00000/tokenizer.json").read_text(), config)


def make_tokenizer(work: Path, folder: Path, number: int, advance: Advance) -> None:
    """Write the tokenizer. One that needs training is trained on the first train documents, in the order of hashes."""
    recipe = ShardRecipe.read(work)
    corpus = recipe.open_corpus()

    def texts() -> Iterator[str]:
        for source in recipe.sources:
            left_bytes = BPE_BYTES_PER_SOURCE
            for document in corpus.of("train", source):
                if left_bytes <= 0:
                    break
                left_bytes -= len(document.text.encode())
                yield document.text

    (folder / "tokenizer.json").write_text(Tokenizer.of(recipe.tokenizer, texts).json)
    advance(1)


def _group_hash(document: Document) -> int:
    """64 bits of the group's hash; a document without a group is one of its own."""
    digest = hashlib.sha256(document.group.encode()).hexdigest() if document.group else document.sha256
    return int(digest[:16], 16)


def tokenize_bucket(work: Path, folder: Path, number: int, advance: Advance) -> None:
    """Write the train tokens of each source in a range of hashes: `<|endoftext|> text <|endoftext|>` per document.

    The first one is left out without `leading_end_of_text`.
    """
    recipe = ShardRecipe.read(work)
    tokenizer = stored_tokenizer(work, recipe.tokenizer)
    border = np.array([tokenizer.special.end_of_text], np.int32)
    opening = border if recipe.leading_end_of_text else border[:0]
    corpus = recipe.open_corpus()
    groups: list[int] = []
    documents, size_bytes, tokens = (Counter[tuple[str, str]]() for _ in range(3))

    def encoded(source: str, count_V: NDArray[np.int64]) -> Iterator[Tokens]:
        for group in in_groups(read_documents(corpus.buckets[number], split="train", source=source), ENCODE_AT_ONCE):
            encodings = tokenizer.encode([document.text for document in group])
            count_V += np.bincount(np.concatenate(encodings), minlength=len(count_V))
            for document, ids in zip(group, encodings, strict=True):
                key, document_bytes = (source, document.language), len(document.text.encode())
                documents[key] += 1
                size_bytes[key] += document_bytes
                tokens[key] += len(ids)
                groups.append(_group_hash(document))
                advance(document_bytes)
                yield np.concatenate([opening, ids, border])

    for source in recipe.sources:
        if not corpus.token_parts(source):
            count_V = np.zeros(recipe.tokenizer.vocab_size, np.int64)
            write_token_file(folder / f"{source}.bin", encoded(source, count_V), recipe.tokenizer.vocab_size)
            np.save(folder / f"{source}.npy", count_V)
            if recipe.has_groups:
                np.array(groups, np.uint64).tofile(folder / f"{source}.groups")
            groups.clear()
    recipe.open_corpus()
    rows = [[*key, count, size_bytes[key], tokens[key]] for key, count in sorted(documents.items())]
    write_json(folder / "statistics.json", rows)
