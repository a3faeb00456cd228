"""Documents as the preparation writes them between its steps and into a corpus: rows of Parquet files."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from ablate.config.trial import CorpusConfig

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

SCHEMA = pa.schema(
    {
        "sha256": pa.string(),
        # Which was read first: number of the part, then number in the part.
        "part": pa.int64(),
        "number": pa.int64(),
        "bucket": pa.int32(),
        "split": pa.string(),
        "source": pa.string(),
        "language": pa.string(),
        "name": pa.string(),
        # In Parquet a column chunk of texts may pass 2 GB.
        "text": pa.large_string(),
        # MinHash, while near-duplicates are looked for.
        "signature": pa.binary(),
    }
)
# So that a reader of one bucket skips the others.
_ROWS_PER_GROUP = 512


@dataclass(frozen=True)
class Document:
    """A text with the SHA-256 of its UTF-8 bytes, which decides its split and its place in the order."""

    sha256: str
    part: int
    number: int
    bucket: int
    split: Split
    source: str
    language: str
    name: str
    text: str
    signature: bytes | None = None


def sha256_of(content: bytes) -> str:
    """In hex digits."""
    return hashlib.sha256(content).hexdigest()


def _share(sha256: str) -> float:
    return int(sha256[:13], 16) / 16**13


def split_of(sha256: str, config: CorpusConfig) -> Split:
    """By the hash, so that a text stays in its split whatever else the corpus holds."""
    share = _share(sha256)
    if share < config.test_fraction:
        return "test"
    return "validation" if share < config.test_fraction + config.val_fraction else "train"


def bucket_of(sha256: str, buckets: int) -> int:
    """Which of equal ranges of hashes, ascending: the buckets one after the other are in the order of the hash."""
    return int(_share(sha256) * buckets)


def in_groups(documents: Iterable[Document], size: int) -> Iterator[list[Document]]:
    """Lists of so many of them, the last one shorter."""
    remaining = iter(documents)
    while some := list(islice(remaining, size)):
        yield some


def write_documents(path: Path, documents: Iterable[Document]) -> None:
    """A file of documents, in their order."""
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for some in in_groups(documents, _ROWS_PER_GROUP):
            columns = {name: [getattr(document, name) for document in some] for name in SCHEMA.names}
            writer.write_table(pa.table(columns, SCHEMA))


def read_table(path: Path, **equal: object) -> pa.Table:
    """The rows of a file whose columns have these values, without their signatures."""
    filters = [(name, "=", value) for name, value in equal.items()] or None
    columns = [name for name in SCHEMA.names if name != "signature"]
    return pq.read_table(path, columns=columns, filters=filters, partitioning=None)


def documents_of(table: "pa.Table") -> Iterator[Document]:
    """The rows of a table."""
    for batch in table.to_batches(max_chunksize=_ROWS_PER_GROUP):
        rows: list[dict[str, Any]] = batch.to_pylist()
        yield from (Document(**row) for row in rows)
