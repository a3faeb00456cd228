"""Token shards in Megatron's format: `<name>.bin` holds the tokens, `<name>.idx` where documents begin.

The index, little endian (Megatron-LM, megatron/core/datasets/indexed_dataset.py): the magic, version 1 (uint64), a code
for the tokens' type (uint8), the number of sequences and the number of documents + 1 (uint64 each); the length of each
sequence (int32); its offset in bytes (int64); and the first sequence of each document, then the number of sequences
(int64).

`<name>.crc32` holds the CRC-32 of each block of 4 096 bytes. It is checked whenever a block is read, so a flipped bit
in the tokens ends a trial and never changes its result.
"""

import hashlib
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.errors import FailureError
from ablate.files import file_sha256
from ablate.objectives.example import Tokens

_MAGIC = b"MMIDIDX\x00\x00"
_HEADER = struct.Struct("<9sQBQQ")
_TYPES: dict[int, type[np.integer[Any]]] = {
    1: np.uint8,
    2: np.int8,
    3: np.int16,
    4: np.int32,
    5: np.int64,
    8: np.uint16,
}
_CODES = {kind: code for code, kind in _TYPES.items()}
_BLOCK_BYTES = 4096
_AT_ONCE_BYTES = 2**24


def smallest_type(vocab_size: int) -> type[np.integer[Any]]:
    """Return the type that Megatron uses for ids below `vocab_size`."""
    return np.uint16 if vocab_size <= 2**16 else np.int32


@dataclass(frozen=True)
class TokenFile:
    """A memory-mapped shard. Opening it reads only the header.

    Attributes:
        path: of the `.bin` file.
        checksums: of the `.crc32` file.
    """

    path: Path
    checksums: Path

    @property
    def index(self) -> Path:
        """The path of the `.idx` file."""
        return self.path.with_suffix(".idx")

    @cached_property
    def _header(self) -> tuple[np.dtype[Any], int, int]:
        """Type of the tokens, number of sequences, number of documents."""
        try:
            with self.index.open("rb") as file:
                magic, version, code, sequences, documents = _HEADER.unpack(file.read(_HEADER.size))
            actual_bytes = self.index.stat().st_size
        except OSError as error:
            raise FailureError(f"{self.index}: cannot be read ({error.strerror}).") from None
        except struct.error:
            raise FailureError(f"{self.index}: too short for a Megatron index. {_REMEDY}") from None
        if (magic, version) != (_MAGIC, 1) or code not in _TYPES:
            raise FailureError(f"{self.index}: not a Megatron index of version 1 with integer tokens. {_REMEDY}")
        expected_bytes = _HEADER.size + 12 * sequences + 8 * documents
        if actual_bytes != expected_bytes:
            raise FailureError(
                f"{self.index}: {actual_bytes:,} bytes, but its header announces {expected_bytes:,}. {_REMEDY}"
            )
        return np.dtype(_TYPES[code]), sequences, documents - 1

    def _mapped(self, kind: type[np.integer[Any]], count: int, offset: int) -> NDArray[Any]:
        return np.memmap(self.index, kind, "r", _HEADER.size + offset, (count,)) if count else np.zeros(0, kind)

    @property
    def type(self) -> "np.dtype[Any]":
        """Data type of the stored tokens."""
        return self._header[0]

    @property
    def documents(self) -> int:
        """Number of documents."""
        return self._header[2]

    @cached_property
    def tokens(self) -> int:
        """Number of tokens. Raises FailureError if the file does not have the size that its index says."""
        kind, sequences, _ = self._header
        lengths, pointers = self._mapped(np.int32, sequences, 0), self._mapped(np.int64, sequences, 4 * sequences)
        expected_bytes = int(pointers[-1]) + int(lengths[-1]) * kind.itemsize if sequences else 0
        try:
            actual_bytes = self.path.stat().st_size
        except OSError as error:
            raise FailureError(f"{self.path}: cannot be read ({error.strerror}). {_REMEDY}") from None
        if actual_bytes != expected_bytes:
            raise FailureError(f"{self.path}: {actual_bytes:,} bytes, but its index says {expected_bytes:,}. {_REMEDY}")
        return actual_bytes // kind.itemsize

    @cached_property
    def _starts_in_bytes(self) -> NDArray[np.int64]:
        _, sequences, documents = self._header
        pointers = self._mapped(np.int64, sequences, 4 * sequences)
        if documents == sequences:
            return pointers
        firsts = self._mapped(np.int64, documents + 1, 12 * sequences)[:-1]
        ends = np.append(pointers, self.tokens * self.type.itemsize)
        return np.asarray(ends[firsts], np.int64)

    def start(self, document: int) -> int:
        """Return the first token of a document; for `documents`, the end of the last one."""
        if document == self.documents:
            return self.tokens
        return int(self._starts_in_bytes[document]) // self.type.itemsize

    def starts(self, first: int, last: int) -> NDArray[np.int64]:
        """Return the first tokens of the documents first … last − 1."""
        return np.asarray(self._starts_in_bytes[first:last]) // self.type.itemsize

    def document_at(self, token: int) -> int:
        """Return the document that a token belongs to."""
        # Not np.searchsorted, which copies the whole index because it is unaligned.
        return bisect_right(self._starts_in_bytes, token * self.type.itemsize) - 1

    @cached_property
    def _bytes(self) -> NDArray[np.uint8]:
        return np.memmap(self.path, np.uint8, "r") if self.tokens else np.zeros(0, np.uint8)

    @cached_property
    def _checksums(self) -> NDArray[np.uint32]:
        try:
            checksums = np.memmap(self.checksums, "<u4", "r") if self.tokens else np.zeros(0, np.uint32)
        except (OSError, ValueError) as error:
            raise FailureError(f"{self.checksums}: cannot be read ({error}). {_REMEDY}") from None
        expected = -(-self.tokens * self.type.itemsize // _BLOCK_BYTES)
        if len(checksums) != expected:
            raise FailureError(f"{self.checksums}: {len(checksums):,} checksums for {expected:,} blocks. {_REMEDY}")
        return checksums

    def read(self, first: int, last: int) -> Tokens:
        """Return the tokens first … last − 1. Raises FailureError if the file was changed since it was written."""
        size = self.type.itemsize
        first_block, end_block = first * size // _BLOCK_BYTES, -(-last * size // _BLOCK_BYTES)
        content = self._bytes[first_block * _BLOCK_BYTES : end_block * _BLOCK_BYTES].tobytes()
        for number in range(first_block, end_block):
            place = (number - first_block) * _BLOCK_BYTES
            if zlib.crc32(content[place : place + _BLOCK_BYTES]) != self._checksums[number]:
                raise FailureError(
                    f"{self.path}: changed since it was written (between bytes {number * _BLOCK_BYTES:,} and "
                    f"{(number + 1) * _BLOCK_BYTES:,}). {_REMEDY}"
                )
        offset = first * size - first_block * _BLOCK_BYTES
        return np.frombuffer(content, self.type, last - first, offset).astype(np.int32)


_REMEDY = (
    "The file is incomplete or damaged. If you copied it here, copy it again. If it is in ablate's cache, delete its "
    "folder and run `python -m ablate data prepare`."
)


def write_token_file(path: Path, documents: Iterable[Tokens], vocab_size: int) -> TokenFile:
    """Write a shard with its index and checksums.

    Args:
        path: of the `.bin` file.
        documents: the ids of each document, below `vocab_size`.
        vocab_size: decides the data type.
    """
    kind = smallest_type(vocab_size)
    lengths: list[int] = []
    with path.open("wb") as file:
        for tokens_T in documents:
            lengths.append(len(tokens_T))
            file.write(tokens_T.astype(kind).tobytes())
    with path.with_suffix(".idx").open("wb") as file:
        file.write(_HEADER.pack(_MAGIC, 1, _CODES[kind], len(lengths), len(lengths) + 1))
        length_D = np.array(lengths, np.int64)
        file.write(length_D.astype("<i4").tobytes())
        file.write(((np.cumsum(length_D) - length_D) * np.dtype(kind).itemsize).astype("<i8").tobytes())
        file.write(np.arange(len(lengths) + 1, dtype="<i8").tobytes())
    written = TokenFile(path, path.with_suffix(".crc32"))
    write_checksums(written)
    return written


def write_checksums(shard: TokenFile) -> None:
    """Write the checksums of a shard's blocks, in one pass."""
    with shard.path.open("rb") as file, shard.checksums.open("wb") as checksums:
        while content := file.read(_AT_ONCE_BYTES):
            blocks = range(0, len(content), _BLOCK_BYTES)
            crc = [zlib.crc32(content[place : place + _BLOCK_BYTES]) for place in blocks]
            checksums.write(np.array(crc, "<u4").tobytes())


def shard_sha256(path: Path) -> str:
    """Return the SHA-256 of a `.bin` file and its `.idx`. Raises FailureError if one cannot be read."""
    both = f"{file_sha256(path)}{file_sha256(path.with_suffix('.idx'))}"
    return hashlib.sha256(both.encode()).hexdigest()
