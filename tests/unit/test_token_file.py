import struct
from pathlib import Path

import numpy as np
import pytest

from ablate.data.corpus.token_file import TokenFile, write_checksums, write_token_file
from ablate.data.tokens.token_source import TokenSource
from ablate.errors import FailureError

DOCUMENTS = [np.arange(first, first + length, dtype=np.int32) for first, length in ((5, 3000), (9, 1), (100, 5000))]
TOKENS = np.concatenate(DOCUMENTS).tolist()


@pytest.fixture
def shard(tmp_path: Path) -> TokenFile:
    return write_token_file(tmp_path / "it.bin", DOCUMENTS, 50_000)


@pytest.mark.parametrize(("entries", "code", "size"), [(50_000, 8, 2), (100_000, 4, 4)])
def test_the_format_is_megatron_s(tmp_path: Path, entries: int, code: int, size: int) -> None:
    """Field by field, as Megatron-LM's IndexedDataset reads it."""
    written = write_token_file(tmp_path / "it.bin", DOCUMENTS, entries)
    content = (tmp_path / "it.idx").read_bytes()
    assert content[:9] == b"MMIDIDX\x00\x00"
    assert struct.unpack_from("<QBQQ", content, 9) == (1, code, 3, 4)
    assert np.frombuffer(content, "<i4", 3, 34).tolist() == [3000, 1, 5000]
    assert np.frombuffer(content, "<i8", 3, 34 + 12).tolist() == [0, 3000 * size, 3001 * size]
    assert np.frombuffer(content, "<i8", 4, 34 + 36).tolist() == [0, 1, 2, 3]
    assert len(content) == 34 + 36 + 32
    assert np.fromfile(tmp_path / "it.bin", f"<{'u2' if size == 2 else 'i4'}").tolist() == TOKENS
    assert written.read(0, written.tokens).tolist() == TOKENS


def test_documents_of_several_sequences(tmp_path: Path) -> None:
    """As preprocess_data.py writes them with --split-sentences."""
    np.arange(10, dtype="<i4").tofile(tmp_path / "it.bin")
    index = struct.pack("<9sQBQQ", b"MMIDIDX\x00\x00", 1, 4, 4, 3)
    index += np.array([2, 3, 4, 1], "<i4").tobytes() + (np.array([0, 2, 5, 9], "<i8") * 4).tobytes()
    (tmp_path / "it.idx").write_bytes(index + np.array([0, 2, 4], "<i8").tobytes())
    shard = TokenFile(tmp_path / "it.bin", tmp_path / "it.crc32")
    write_checksums(shard)
    assert (shard.documents, shard.tokens, shard.starts(0, 2).tolist()) == (2, 10, [0, 5])
    assert [shard.document_at(token) for token in (0, 4, 5, 9)] == [0, 0, 1, 1]
    assert shard.start(2) == 10


@pytest.mark.parametrize(("first", "last"), [(0, 1), (2047, 2049), (2999, 3002), (4000, 8001)])
def test_any_part_is_read(shard: TokenFile, first: int, last: int) -> None:
    assert shard.read(first, last).tolist() == TOKENS[first:last]


@pytest.mark.parametrize("place", [0, 4095, 4096, 9000, 16001])
def test_a_flipped_bit_ends_the_reading_of_its_block(shard: TokenFile, place: int) -> None:
    content = bytearray(shard.path.read_bytes())
    content[place] ^= 1
    shard.path.write_bytes(content)
    block = place // 4096
    with pytest.raises(
        FailureError, match=rf"it\.bin: changed since it was written \(between bytes {block * 4096:,} and"
    ):
        shard.read(0, shard.tokens)
    other = (block + 1) % 4
    assert shard.read(other * 2048, other * 2048 + 10).tolist() == TOKENS[other * 2048 : other * 2048 + 10]


@pytest.mark.parametrize(
    ("suffix", "keep", "message"),
    [
        (".bin", -1, r"it\.bin: 16,001 bytes, but its index says 16,002"),
        (".bin", None, r"it\.bin: cannot be read"),
        (".idx", -8, r"it\.idx: 94 bytes, but its header announces 102"),
        (".idx", 10, r"it\.idx: too short for a Megatron index"),
        (".idx", None, r"it\.idx: cannot be read"),
        (".crc32", -4, r"it\.crc32: 3 checksums for 4 blocks"),
        (".crc32", None, r"it\.crc32: cannot be read"),
    ],
)
def test_a_half_written_shard_is_refused(shard: TokenFile, suffix: str, keep: int | None, message: str) -> None:
    path = shard.path.with_suffix(suffix)
    content = path.read_bytes()
    path.unlink()
    if keep is not None:
        path.write_bytes(content[:keep])
    found = TokenFile(shard.path, shard.checksums)
    with pytest.raises(FailureError, match=message):
        found.read(0, found.tokens)


def test_an_index_of_something_else_is_refused(shard: TokenFile) -> None:
    content = bytearray(shard.index.read_bytes())
    content[17] = 7  # float64
    shard.index.write_bytes(content)
    with pytest.raises(FailureError, match=r"it\.idx: not a Megatron index of version 1 with integer tokens"):
        TokenFile(shard.path, shard.checksums).tokens  # noqa: B018


def test_a_source_is_its_shards_end_to_end(tmp_path: Path) -> None:
    files = tuple(write_token_file(tmp_path / f"{n}.bin", DOCUMENTS[n : n + 1], 50_000) for n in range(3))
    source = TokenSource(files, 3)
    assert source.tokens == 8001
    assert source.read(2990, 3010).tolist() == TOKENS[2990:3010]
    assert source.read(3000, 3000).tolist() == []
    assert source.segments(2990, 3010) == (10, 1, 9)
    assert [source.document_at(token) for token in (0, 2999, 3000, 3001, 8000)] == [0, 0, 1, 2, 2]
    assert TokenSource(files, 2).tokens == 3001
