"""The first step of a corpus: read a part, and store the documents that pass cleaning."""

import hashlib
from pathlib import Path

import numpy as np

from ablate.data.corpus.cleaning import Cleaning
from ablate.data.corpus.document import Document, bucket_of, split_of, write_documents
from ablate.data.corpus.near_duplicates import signature
from ablate.data.corpus.preparation_step import Advance
from ablate.data.corpus.readers.reader import Part, Problem
from ablate.data.corpus.readers.tokens import MegatronShards
from ablate.data.corpus.recipe import Recipe
from ablate.data.corpus.statistics import Statistics
from ablate.data.corpus.token_file import TokenFile, shard_sha256, write_checksums
from ablate.files import write_json

# Bytes of text held in memory before they are written.
_FLUSH_BYTES = 2**26
_SCANNED_TOKENS = 2**22


def read_part(work: Path, folder: Path, number: int, advance: Advance) -> None:
    """Write the documents of a part, sorted by hash, and their statistics; of pre-tokenized shards their checksums.

    Raises:
        FailureError: a problem whose kind is not in `cleaning.skip`.
    """
    recipe = Recipe.read(work)
    entry = recipe.parts[number]
    reader = recipe.reader(entry)
    if isinstance(reader, MegatronShards):
        _scan_tokens(entry.part, folder, advance)
        return
    cleaning, statistics = Cleaning(recipe.cleaning), Statistics()
    finds_near_duplicates = recipe.cleaning.near_duplicates is not None
    documents: list[Document] = []
    unwritten_bytes = flushed = read_bytes = 0
    for index, raw in enumerate(reader.documents(entry.part)):
        cleaned = cleaning(raw)
        if isinstance(cleaned, str):
            language, text = ("", "") if isinstance(raw, Problem) else (raw.language, raw.text)
            statistics.add(entry.source, language, cleaned, len(text.encode(errors="replace")))
            continue
        content = cleaned.text.encode()
        sha256 = hashlib.sha256(content).hexdigest()
        documents.append(
            Document(
                sha256=sha256,
                part=number,
                number=index,
                bucket=bucket_of(sha256, recipe.buckets),
                split=split_of(sha256, cleaned.group, recipe.corpus),
                source=entry.source,
                label=entry.label,
                group=cleaned.group,
                language=cleaned.language,
                name=cleaned.name,
                text=cleaned.text,
                signature=signature(cleaned.text).tobytes() if finds_near_duplicates else None,
            )
        )
        unwritten_bytes += len(content)
        # A compressed file holds more bytes than its size, which is the total of the bar.
        advanced = min(len(content), entry.part.size_bytes - read_bytes)
        advance(advanced)
        read_bytes += advanced
        if unwritten_bytes >= _FLUSH_BYTES:
            _flush(folder, flushed, documents)
            documents, unwritten_bytes, flushed = [], 0, flushed + 1
    _flush(folder, flushed, documents)
    advance(entry.part.size_bytes - read_bytes)
    write_json(folder / "statistics.json", statistics.to_json())


def _flush(folder: Path, number: int, documents: list[Document]) -> None:
    documents.sort(key=lambda document: document.sha256)
    write_documents(folder / f"{number:05d}.parquet", documents)


def _scan_tokens(part: Part, folder: Path, advance: Advance) -> None:
    """Write the checksums and the hash of a pre-tokenized shard, and how often each id occurs in it."""
    path = part.files[0]
    shard = TokenFile(path, folder / "tokens.crc32")
    tokens = shard.tokens
    write_checksums(shard)
    count_V = np.zeros(0, np.int64)
    for first in range(0, tokens, _SCANNED_TOKENS):
        more_V = np.bincount(shard.read(first, min(tokens, first + _SCANNED_TOKENS)), minlength=len(count_V))
        more_V[: len(count_V)] += count_V
        count_V = more_V
        advance(_SCANNED_TOKENS * shard.type.itemsize)
    np.save(folder / "counts.npy", count_V)
    write_json(folder / "tokens.json", {"sha256": shard_sha256(path), "documents": shard.documents, "tokens": tokens})
    # The next step reads the same files for every part.
    write_documents(folder / "00000.parquet", [])
    write_json(folder / "statistics.json", [])
