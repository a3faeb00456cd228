"""The first step of a corpus: reads a part, and writes the documents that pass for themselves alone."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from ablate.config.trial import CleaningConfig
from ablate.data.corpus.contamination import Contamination
from ablate.data.corpus.document import Document, bucket_of, sha256_of, split_of, write_documents
from ablate.data.corpus.filters import Filters
from ablate.data.corpus.near_duplicates import signature
from ablate.data.corpus.preparation_step import Advance
from ablate.data.corpus.readers.reader import Part, Problem, RawDocument
from ablate.data.corpus.readers.tokens import MegatronShards
from ablate.data.corpus.recipe import Recipe
from ablate.data.corpus.statistics import Statistics
from ablate.data.tokens.token_file import TokenFile, shard_sha256, write_checksums
from ablate.errors import FailureError
from ablate.files import write_json

# Of text that is held in memory.
_FLUSH_BYTES = 2**26
_SCANNED_TOKENS = 2**22


def read_part(work: Path, folder: Path, number: int, advance: Advance) -> None:
    """Writes the documents of a part, sorted by hash, and what became of them; of tokens their checksums.

    Raises:
        FailureError: something is no document, and `cleaning.skip` does not name its kind.
    """
    recipe = Recipe.read(work)
    entry = recipe.parts[number]
    reader = recipe.reader(entry)
    if isinstance(reader, MegatronShards):
        _scan_tokens(entry.part, folder, advance)
        return
    cleaning, statistics = Cleaning(recipe.cleaning), Statistics()
    held: list[Document] = []
    held_bytes = flushed = read_bytes = 0
    for index, found in enumerate(reader.documents(entry.part)):
        cleaned = cleaning(found)
        if isinstance(cleaned, str):
            language = "" if isinstance(found, Problem) else found.language
            size_bytes = 0 if isinstance(found, Problem) else len(found.text.encode(errors="replace"))
            statistics.add(entry.source, language, cleaned, size_bytes)
            continue
        content = cleaned.text.encode()
        sha256 = sha256_of(content)
        held.append(
            Document(
                sha256=sha256,
                part=number,
                number=index,
                bucket=bucket_of(sha256, recipe.buckets),
                split=split_of(sha256, recipe.corpus),
                source=entry.source,
                language=cleaned.language,
                name=cleaned.name,
                text=cleaned.text,
                signature=cleaning.signature(cleaned.text),
            )
        )
        held_bytes += len(content)
        # What is read may be larger than the compressed file that it was announced as.
        advanced = min(len(content), entry.part.size_bytes - read_bytes)
        advance(advanced)
        read_bytes += advanced
        if held_bytes >= _FLUSH_BYTES:
            _flush(folder, flushed, held)
            held, held_bytes, flushed = [], 0, flushed + 1
    _flush(folder, flushed, held)
    advance(entry.part.size_bytes - read_bytes)
    write_json(folder / "statistics.json", statistics.to_json())


def _flush(folder: Path, number: int, held: list[Document]) -> None:
    held.sort(key=lambda document: document.sha256)
    write_documents(folder / f"{number:05d}.parquet", held)


def _scan_tokens(part: Part, folder: Path, advance: Advance) -> None:
    """Writes what nobody knows of a shard made elsewhere: checksums, hash, and how often each id occurs."""
    path = part.files[0]
    shard = TokenFile(path, folder / "tokens.crc32")
    tokens = shard.tokens
    write_checksums(shard)
    count_V = np.zeros(0, np.int64)
    for first in range(0, tokens, _SCANNED_TOKENS):
        found = np.bincount(shard.read(first, min(tokens, first + _SCANNED_TOKENS)), minlength=len(count_V))
        found[: len(count_V)] += count_V
        count_V = found
        advance(_SCANNED_TOKENS * shard.type.itemsize)
    np.save(folder / "counts.npy", count_V)
    write_json(folder / "tokens.json", {"sha256": shard_sha256(path), "documents": shard.documents, "tokens": tokens})
    # No text: what follows reads as of any other part.
    write_documents(folder / "00000.parquet", [])
    write_json(folder / "statistics.json", [])


class Cleaning:
    """Decides for each document by itself."""

    def __init__(self, config: CleaningConfig) -> None:
        self.config = config
        self.filters = Filters(config.min_bytes, config.licences)
        self.contamination = _contamination(config.decontaminate)

    def __call__(self, found: RawDocument | Problem) -> RawDocument | str:
        """The document or, where it is dropped, why. Raises FailureError: a problem that is not to be skipped."""
        if isinstance(found, Problem):
            return self._skipped(found)
        try:
            size_bytes = len(found.text.encode())
        except UnicodeEncodeError as error:
            return self._skipped(
                Problem("not_utf8", f"{found.name}: half of a surrogate pair at character {error.start}, no text.")
            )
        if size_bytes > self.config.max_bytes:
            message = f"{found.name}: {size_bytes:,} bytes, more than cleaning.max_bytes={self.config.max_bytes:,}."
            return self._skipped(Problem("too_long", f"{message} Cut it into documents, or raise that."))
        reason = self.filters.reason(found, size_bytes)
        if reason is not None:
            return reason
        if self.contamination is not None and self.contamination.hit(found.text) is not None:
            return "contaminated"
        return found

    def _skipped(self, problem: Problem) -> str:
        if problem.kind in self.config.skip:
            return problem.kind
        kinds = ",".join([*self.config.skip, problem.kind])
        raise FailureError(f"{problem.message} Or have such documents skipped and counted: cleaning.skip=[{kinds}]")

    def signature(self, text: str) -> bytes | None:
        """Of the text, where near-duplicates are looked for."""
        return None if self.config.near_duplicates is None else signature(text).tobytes()


@lru_cache
def _contamination(benchmarks: tuple[str, ...]) -> Contamination | None:
    return Contamination.of(benchmarks) if benchmarks else None
