"""Documents as the preparation stores them, between its steps and in a corpus: rows of Parquet files."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from ablate.config.data import CorpusConfig

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

SCHEMA = pa.schema(
    {
        "sha256": pa.string(),
        "part": pa.int64(),
        "number": pa.int64(),
        "bucket": pa.int32(),
        "split": pa.string(),
        "source": pa.string(),
        "label": pa.string(),
        "group": pa.string(),
        "language": pa.string(),
        "name": pa.string(),
        # A column chunk of texts may exceed 2 GB.
        "text": pa.large_string(),
        "signature": pa.binary(),
        "seen": pa.binary(),
    }
)
# Small row groups let a reader of one bucket skip the others.
_ROWS_PER_GROUP = 512


@dataclass(frozen=True)
class Document:
    """A text with its provenance.

    Attributes:
        sha256: hash of the text's UTF-8 bytes, in hex. It decides the bucket, the order and the split of a text without
            a group.
        part: index of the part that it was read from; with `number`, it decides which of equal texts is the first.
        number: index in the part.
        bucket: index of its range of hashes.
        split: train, validation or test.
        source: name of its source.
        label: of the source's reader that it came from.
        group: the package or work that it belongs to, whose hash decides the split; empty: the text's own hash does.
        language: e.g. "Python"; empty if unknown.
        name: where it was found, for people.
        text: all of it.
        signature: MinHash of the text, only while near-duplicates are searched.
        seen: which 13-grams of a held-out document also occur in train documents (see `overlap`); only in shards.
    """

    sha256: str
    part: int
    number: int
    bucket: int
    split: Split
    source: str
    label: str
    group: str
    language: str
    name: str
    text: str
    signature: bytes | None = None
    seen: bytes | None = None


def _position(sha256: str) -> float:
    """Map a hash to [0, 1)."""
    return int(sha256[:13], 16) / 16**13


def split_of(sha256: str, group: str, config: CorpusConfig) -> Split:
    """Return the split of a text. It depends on the hash of its group, or else of the text, and on nothing else.

    So other texts never move a text to another split.
    """
    position = _position(hashlib.sha256(group.encode()).hexdigest() if group else sha256)
    if position < config.test_fraction:
        return "test"
    return "validation" if position < config.test_fraction + config.val_fraction else "train"


def bucket_of(sha256: str, buckets: int) -> int:
    """Return which of `buckets` equal, ascending ranges of hashes a hash lies in."""
    return int(_position(sha256) * buckets)


def in_groups(documents: Iterable[Document], size: int) -> Iterator[list[Document]]:
    """Yield lists of `size` documents; the last one may be shorter."""
    remaining = iter(documents)
    while group := list(islice(remaining, size)):
        yield group


def write_documents(path: Path, documents: Iterable[Document]) -> None:
    """Write documents to a Parquet file, in the given order."""
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for group in in_groups(documents, _ROWS_PER_GROUP):
            columns = {name: [getattr(document, name) for document in group] for name in SCHEMA.names}
            writer.write_table(pa.table(columns, SCHEMA))


def read_documents(path: Path, **values: object) -> Iterator[Document]:
    """Yield the documents of a file whose columns have the given values, without their signatures."""
    filters = [(name, "=", value) for name, value in values.items()] or None
    columns = [name for name in SCHEMA.names if name != "signature"]
    table = pq.read_table(path, columns=columns, filters=filters, partitioning=None)
    for batch in table.to_batches(max_chunksize=_ROWS_PER_GROUP):
        yield from (Document(**row) for row in batch.to_pylist())
