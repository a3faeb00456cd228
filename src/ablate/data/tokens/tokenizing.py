"""The steps from a corpus to token shards: makes the tokenizer, and writes the tokens of each range of hashes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from ablate.config.trial import TokenizerConfig
from ablate.data.corpus.corpus import Corpus, in_bucket
from ablate.data.corpus.document import in_groups
from ablate.data.corpus.preparation_step import Advance
from ablate.data.tokens.token_file import write_token_file
from ablate.data.tokens.tokenizer import Tokenizer
from ablate.errors import FailureError
from ablate.files import write_json
from ablate.objectives.example import Tokens

ENCODE_AT_ONCE = 256
# A vocabulary hardly changes with more text of a source than this.
BPE_BYTES_PER_SOURCE = 100_000_000


@dataclass(frozen=True)
class ShardRecipe:
    """What shards are made from.

    Attributes:
        corpus: folder of a prepared corpus.
        manifest_sha256: of its text.
        buckets: how many ranges of hashes it has.
        sources: by name.
        tokenizer: which.
    """

    corpus: Path
    manifest_sha256: str
    buckets: int
    sources: tuple[str, ...]
    tokenizer: TokenizerConfig

    @property
    def json(self) -> bytes:
        """Equal for equal recipes."""
        return _RECIPE.dump_json(self)

    @classmethod
    def read(cls, folder: Path) -> "ShardRecipe":
        """The `json` that a work folder has."""
        return _RECIPE.validate_json((folder / "recipe.json").read_bytes())

    def opened(self) -> Corpus:
        """The corpus. Raises FailureError: another command has made it anew, of other text."""
        found = Corpus(self.corpus)
        if found.manifest_sha256 != self.manifest_sha256:
            raise FailureError(
                f"{self.corpus}: was prepared anew, of other text, while its tokens were written. Run the same command "
                "again: it takes the text as it is now, or refuses it."
            )
        return found


_RECIPE = TypeAdapter(ShardRecipe)


def made_tokenizer(work: Path, config: TokenizerConfig) -> Tokenizer:
    """What `make_tokenizer` made."""
    return Tokenizer.from_json((work / "tokenizer/00000/tokenizer.json").read_text(), config)


def make_tokenizer(work: Path, folder: Path, number: int, advance: Advance) -> None:
    """Writes the tokenizer, trained on the first train documents by hash where it is to be trained."""
    recipe = ShardRecipe.read(work)
    corpus = recipe.opened()

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


def tokenize_bucket(work: Path, folder: Path, number: int, advance: Advance) -> None:
    """Writes the train tokens of each source in a range of hashes, each document between two `<|endoftext|>`."""
    recipe = ShardRecipe.read(work)
    tokenizer = made_tokenizer(work, recipe.tokenizer)
    corpus = recipe.opened()
    path = corpus.buckets[number]
    counted: dict[tuple[str, str], tuple[int, int, int]] = {}
    for source in recipe.sources:
        if corpus.token_parts(source):
            continue
        count_V = np.zeros(recipe.tokenizer.vocab_size, np.int64)

        def encoded(source: str = source, count_V: NDArray[np.int64] = count_V) -> Iterator[Tokens]:
            border = np.array([tokenizer.special.end_of_text], np.int32)
            for documents in in_groups(in_bucket(path, "train", source), ENCODE_AT_ONCE):
                found = tokenizer.encode([document.text for document in documents])
                count_V += np.bincount(np.concatenate(found), minlength=len(count_V))
                for document, tokens in zip(documents, found, strict=True):
                    size_bytes = len(document.text.encode())
                    before = counted.get((source, document.language), (0, 0, 0))
                    counted[source, document.language] = (
                        before[0] + 1,
                        before[1] + size_bytes,
                        before[2] + len(tokens),
                    )
                    advance(size_bytes)
                    yield np.concatenate([border, tokens, border])

        write_token_file(folder / f"{source}.bin", encoded(), recipe.tokenizer.vocab_size)
        np.save(folder / f"{source}.npy", count_V)
    recipe.opened()
    write_json(folder / "statistics.json", [[*key, *count] for key, count in sorted(counted.items())])
