"""A source whose tokens were made elsewhere: which of its documents are held out, and what they say."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ablate.config.trial import CorpusConfig
from ablate.data.corpus.cache import link
from ablate.data.corpus.corpus import Corpus, TokenPart
from ablate.data.corpus.document import Document, Split, sha256_of
from ablate.data.tokens.token_file import TokenFile
from ablate.data.tokens.token_source import TokenSource
from ablate.data.tokens.tokenizer import Tokenizer
from ablate.errors import UsageError


@dataclass(frozen=True)
class PretokenizedSource:
    """The shards of one source. The last documents are held out, as by Megatron's `--split`: test after tune.

    Attributes:
        corpus: that knows the shards.
        parts: of the source.
    """

    corpus: Corpus
    parts: tuple[TokenPart, ...]

    @classmethod
    def of(cls, corpus: Corpus, source: str) -> "PretokenizedSource":
        """A source's shards; no parts where it is of text."""
        return cls(corpus, tuple(corpus.token_parts(source)))

    def _beside(self, part: TokenPart, kind: str) -> Path:
        return self.corpus.folder / "tokens" / f"{part.name}.{kind}"

    @cached_property
    def borders(self) -> dict[Split, tuple[int, int]]:
        """First and last document of each split, the last one not in it."""
        config: CorpusConfig = self.corpus.recipe.corpus
        documents = sum(part.documents for part in self.parts)
        test, tune = (max(1, round(share * documents)) for share in (config.test_fraction, config.val_fraction))
        ends = (0, documents - tune - test, documents - test, documents)
        if ends[1] < 1:
            raise UsageError(
                f"{self.parts[0].path}: {documents} documents are too few for three splits. Give the source more "
                "shards."
            )
        return {"train": (ends[0], ends[1]), "validation": (ends[1], ends[2]), "test": (ends[2], ends[3])}

    def train(self, tokenizer: Tokenizer) -> TokenSource:
        """The documents to train on."""
        files = tuple(TokenFile(Path(part.path), self._beside(part, "crc32")) for part in self.parts)
        theirs = self.parts[0].end_of_document
        ends = None if theirs is None else (theirs, tokenizer.special.end_of_text)
        return TokenSource(files, self.borders["train"][1], ends)

    def write(self, folder: Path, tokenizer: Tokenizer) -> dict[str, Any]:
        """Puts checksums and counts into a folder of shards; gives what `Shards.source` makes `train` from again.

        Raises:
            UsageError: ids that the tokenizer has not.
        """
        self._check_ids(tokenizer)
        files = []
        for part in self.parts:
            name = f"{part.name}.{part.source}"
            link(self._beside(part, "crc32"), folder / f"{name}.crc32")
            np.save(folder / f"{name}.npy", np.load(self._beside(part, "npy"))[: tokenizer.vocab_size])
            files.append([part.path, f"{name}.crc32"])
        source = self.train(tokenizer)
        return {"files": files, "documents": source.documents, "end_of_document": source.end_of_document}

    def counted(self, tokenizer: Tokenizer) -> tuple[str, str, int, int, int]:
        """A row of `Shards.counted`; how many bytes the text has is not known."""
        source = self.train(tokenizer)
        return (self.parts[0].source, "", source.documents, 0, source.tokens)

    def _check_ids(self, tokenizer: Tokenizer) -> None:
        texts = tokenizer.vocabulary.get_vocab_size(with_added_tokens=True)
        for part in self.parts:
            counts = np.load(self._beside(part, "npy"))
            used = np.flatnonzero(counts)
            strange = used[(used >= texts) & (used != (-1 if part.end_of_document is None else part.end_of_document))]
            if len(strange):
                raise UsageError(
                    f"{part.path}: holds the id {strange[0]}, and the tokenizer's text has ids below {texts}. Give the "
                    "tokenizer that made these tokens (tokenizer=file tokenizer.path=…) or, if the id ends documents, "
                    f"end_of_document: {strange[0]}."
                )

    def held_out(self, split: Split, tokenizer: Tokenizer) -> Iterator[Document]:
        """The documents of a held-out split as text."""
        source = self.train(tokenizer)
        for number in range(*self.borders[split]):
            tokens_T = source.read(source.start(number), source.start(number + 1))
            text = tokenizer.decode(tokens_T[tokens_T != tokenizer.special.end_of_text])
            name = f"{self.parts[0].source}/{number}"
            if text:
                yield Document(sha256_of(text.encode()), 0, number, 0, split, self.parts[0].source, "", name, text)
