"""JSON lines: one object per line, optionally compressed."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.data.corpus.readers.columns import Columns, missing_columns, unknown_column
from ablate.data.corpus.readers.paths import PART_BYTES, FilesBelow, in_parts
from ablate.data.corpus.readers.reader import MOST_BYTES, Part, Problem, RawDocument, text_of, too_long
from ablate.errors import FailureError

COMPRESSED = (".gz", ".zst")
# The largest window that the zstd library decompresses unless it is told otherwise (ZSTD_WINDOWLOG_LIMIT_DEFAULT).
MOST_WINDOW_BYTES = 2**27


@dataclass(frozen=True, kw_only=True)
class JsonLines(FilesBelow, Columns):
    """Files of JSON lines; `.gz` and `.zst` files are compressed."""

    def parts(self) -> list[Part]:
        """Return parts: small files together, large ones divided by bytes, compressed ones whole."""
        whole, divided = [], []
        for path in self.files():
            size = path.stat().st_size
            if path.suffix in COMPRESSED or size <= PART_BYTES:
                whole.append(path)
            else:
                spans = [(first, min(size, first + PART_BYTES)) for first in range(0, size, PART_BYTES)]
                divided += [Part(f"{path}:{span[0]}", span[1] - span[0], (path,), span) for span in spans]
        return (in_parts(whole) if whole else []) + divided

    def documents(self, part: Part) -> Iterator[RawDocument | Problem]:
        """Yield each line that begins in the part.

        Raises:
            UsageError: no row has one of the columns. Only the first part of a large file is checked, because a later
                one may have a few rows that happen to lack a column.
        """
        unseen, first = self.columns, None
        for path in part.files:
            for place, line in _lines(path, *part.span):
                name = f"{path}, byte {place}"
                row = _row(line, name)
                if isinstance(row, dict):
                    first, unseen = first or row, missing_columns(row, unseen)
                document = self.document(row, name) if isinstance(row, dict) else row
                if document is not None:
                    yield document
        if first is not None and unseen and part.span[0] == 0:
            raise unknown_column(part.label, unseen[0], first)


def _row(line: bytes | None, name: str) -> dict[str, Any] | Problem | None:
    """Return the object of a line, or None for an empty line."""
    if line is None:
        return too_long(name)
    if not line.strip():
        return None
    text = text_of(line, name)
    if isinstance(text, Problem):
        return text
    try:
        row = json.loads(text)
    except ValueError as error:
        return Problem("bad_json", f"{name}: not JSON ({error}). Fix or remove the line.")
    except RecursionError:
        return Problem("bad_json", f"{name}: JSON that is nested too deeply to be read. Fix or remove the line.")
    if not isinstance(row, dict):
        return Problem("bad_json", f"{name}: not a JSON object. Fix or remove the line.")
    return row


def _lines(path: Path, first: int, last: int) -> Iterator[tuple[int, bytes | None]]:
    """Yield (byte, line) for lines that begin in first … last − 1, or all if last is 0; None if a line is too long."""
    import pyarrow as pa

    try:
        with pa.input_stream(str(path), compression="detect") as raw, io.BufferedReader(raw, 2**20) as stream:
            place = first
            if first:
                # If a line ends just before `first`, another one begins there.
                stream.seek(first - 1)
                place += _skip_line(stream) - 1
            while (not last or place < last) and (line := stream.readline(MOST_BYTES)):
                is_whole = len(line) < MOST_BYTES or line.endswith(b"\n")
                yield place, line if is_whole else None
                place += len(line) if is_whole else len(line) + _skip_line(stream)
    except (OSError, EOFError, pa.ArrowException) as error:
        if path.suffix == ".zst" and (window := _zstd_window_bytes(path)) > MOST_WINDOW_BYTES:
            raise FailureError(
                f"{path}: compressed with a window of {window / 2**20:,.0f} MiB (zstd --long), and at most "
                f"{MOST_WINDOW_BYTES / 2**20:,.0f} MiB are read. Compress it again: zstd -dc --long=31 {path.name} | "
                f"zstd -o NEW.zst"
            ) from None
        raise FailureError(f"{path}: cannot be read to its end ({error}). Copy or download it again.") from None


def _zstd_window_bytes(path: Path) -> int:
    """Return the window size in the header of the first frame (RFC 8878, section 3.1.1.1); 0 without such a header."""
    with path.open("rb") as file:
        header = file.read(14)
    if len(header) < 14 or not header.startswith(b"\x28\xb5\x2f\xfd"):
        return 0
    if header[4] & 0x20:
        # A single segment: the window is the whole content, whose size follows the dictionary's id.
        first, size = 5 + (0, 1, 2, 4)[header[4] & 3], (1, 2, 4, 8)[header[4] >> 6]
        return int.from_bytes(header[first : first + size], "little") + (256 if size == 2 else 0)
    base: int = 1 << (10 + (header[5] >> 3))
    return base + base // 8 * (header[5] & 7)


def _skip_line(stream: io.BufferedReader) -> int:
    """Skip the rest of a line. Return its number of bytes."""
    skipped_bytes = 0
    while line := stream.readline(2**20):
        skipped_bytes += len(line)
        if line.endswith(b"\n"):
            break
    return skipped_bytes
