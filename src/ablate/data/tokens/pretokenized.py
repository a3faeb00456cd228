"""A source whose tokens were made by another program: its splits, and its held-out documents as text."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ablate.data.corpus.cache import link
from ablate.data.corpus.corpus import Corpus, TokenPart
from ablate.data.corpus.document import Document, Split
from ablate.data.corpus.token_file import TokenFile
from ablate.data.tokens.token_source import TokenSource
from ablate.data.tokens.tokenizer import Tokenizer
from ablate.errors import UsageError


@dataclass(frozen=True)
class PretokenizedFiles:
    """The shards of a pre-tokenized source as `shards.json` stores them.

    Attributes:
        files: path of each `.bin` file, and name of its checksums in `tokens/`.
        documents: how many are train documents, from the first on.
        end_of_document: see `TokenSource`.
    """

    files: list[tuple[str, str]]
    documents: int
    end_of_document: tuple[int, int] | None


@dataclass(frozen=True)
class PretokenizedSource:
    """The shards of one source. The last documents are held out, as by Megatron's `--split`: validation, then test.

    Attributes:
        corpus: the corpus that lists the shards.
        parts: the shards.
    """

    corpus: Corpus
    parts: tuple[TokenPart, ...]

    @classmethod
    def of(cls, corpus: Corpus, source: str) -> "PretokenizedSource":
        """Return a source's shards; without parts if it is a source of text."""
        return cls(corpus, tuple(corpus.token_parts(source)))

    def _scanned(self, part: TokenPart, kind: str) -> Path:
        return self.corpus.folder / "tokens" / f"{part.name}.{kind}"

    @cached_property
    def splits(self) -> dict[Split, tuple[int, int]]:
        """First document of each split, and the one after its last."""
        config = self.corpus.recipe.corpus
        documents = sum(part.documents for part in self.parts)
        test, validation = (
            max(1, round(fraction * documents)) for fraction in (config.test_fraction, config.val_fraction)
        )
        ends = (0, documents - validation - test, documents - test, documents)
        if ends[1] < 1:
            raise UsageError(
                f"{self.parts[0].path}: {documents} documents are too few for three splits. Add shards to the source."
            )
        return {"train": (ends[0], ends[1]), "validation": (ends[1], ends[2]), "test": (ends[2], ends[3])}

    def train(self, tokenizer: Tokenizer) -> TokenSource:
        """Return the train documents."""
        files = tuple(TokenFile(Path(part.path), self._scanned(part, "crc32")) for part in self.parts)
        theirs = self.parts[0].end_of_document
        ends = None if theirs is None else (theirs, tokenizer.special.end_of_text)
        return TokenSource(files, self.splits["train"][1], ends)

    def write(self, folder: Path, tokenizer: Tokenizer) -> PretokenizedFiles:
        """Put checksums and token counts into a folder of shards.

        Raises:
            UsageError: the shards hold ids that the tokenizer does not have.
        """
        self._check_ids(tokenizer)
        files = []
        for part in self.parts:
            name = f"{part.name}.{part.source}"
            link(self._scanned(part, "crc32"), folder / f"{name}.crc32")
            np.save(folder / f"{name}.npy", np.load(self._scanned(part, "npy"))[: tokenizer.vocab_size])
            files.append((part.path, f"{name}.crc32"))
        source = self.train(tokenizer)
        return PretokenizedFiles(files, source.documents, source.end_of_document)

    def statistics(self, tokenizer: Tokenizer) -> tuple[str, str, int, int, int]:
        """Return a row of `ShardFacts.statistics`, with 0 bytes because the text is unknown."""
        source = self.train(tokenizer)
        return (self.parts[0].source, "", source.documents, 0, source.tokens)

    def _check_ids(self, tokenizer: Tokenizer) -> None:
        text_ids = tokenizer.vocabulary.get_vocab_size(with_added_tokens=True)
        for part in self.parts:
            used = np.flatnonzero(np.load(self._scanned(part, "npy")))
            unknown = used[
                (used >= text_ids) & (used != (-1 if part.end_of_document is None else part.end_of_document))
            ]
            if len(unknown):
                raise UsageError(
                    f"{part.path}: holds the id {unknown[0]}, but the tokenizer's text has ids below {text_ids}. "
                    "Give the tokenizer that made these tokens (tokenizer=file tokenizer.path=…) or, if the id ends "
                    f"documents, end_of_document: {unknown[0]}."
                )

    def held_out(self, split: Split, tokenizer: Tokenizer) -> Iterator[Document]:
        """Yield the documents of a held-out split as text."""
        source, name = self.train(tokenizer), self.parts[0].source
        for number in range(*self.splits[split]):
            tokens_T = source.read(source.start(number), source.start(number + 1))
            text = tokenizer.decode(tokens_T[tokens_T != tokenizer.special.end_of_text])
            if text:
                sha256 = hashlib.sha256(text.encode()).hexdigest()
                yield Document(sha256, 0, number, 0, split, name, "", "", "", f"{name}/{number}", text)
