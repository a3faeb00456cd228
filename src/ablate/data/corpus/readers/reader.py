"""The reader protocol: a source is divided into parts, and one worker reads a part into documents."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ablate.config.data import ProblemKind
from ablate.errors import FailureError

# A whole document is held in memory.
MOST_BYTES = 2**30


@dataclass(frozen=True)
class RawDocument:
    """A text as it was read.

    Attributes:
        name: its place in the source, for people.
        text: all of it.
        language: e.g. "Python", "English"; empty if the source does not name it.
        licences: all licences of the text; empty if the source names none.
        group: the package or work that it belongs to, all of which is in one split; empty: the text by itself.
    """

    name: str
    text: str
    language: str = ""
    licences: tuple[str, ...] = ()
    group: str = ""


@dataclass(frozen=True)
class Problem:
    """Something that is not a document. It ends the preparation, or is skipped and counted if the user wants that.

    Attributes:
        kind: one of those that `cleaning.skip` may name.
        message: the place, what is wrong, and how to fix it other than by skipping.
    """

    kind: ProblemKind
    message: str


@dataclass(frozen=True)
class Part:
    """The unit that one worker reads.

    Attributes:
        label: unique among the parts of its reader.
        size_bytes: approximate size, for the progress bar.
        files: the local files that it reads. If one changes, the corpus is stale.
        span: its start and end in the files, in a unit of the reader's.
    """

    label: str
    size_bytes: int
    files: tuple[Path, ...]
    span: tuple[int, int] = (0, 0)


class Reader(Protocol):
    """A frozen dataclass. Its keyword-only fields are the parameters in YAML."""

    def parts(self) -> list[Part]:
        """Return all parts, always in the same order.

        Raises:
            UsageError: a missing path, or a pattern without a match.
            FailureError: a source that cannot be reached.
        """
        ...

    def documents(self, part: Part) -> Iterator[RawDocument | Problem]:
        """Yield the documents of a part, always in the same order. Raises FailureError: a file that cannot be read."""
        ...


def too_long(name: str) -> Problem:
    """Return the problem of a text that is too long for memory."""
    message = f"{name}: more than {MOST_BYTES:,} bytes, the maximum for one text. Split it into documents."
    return Problem("too_long", message)


def binary(name: str, place: str) -> Problem:
    """Return the problem of content with a NUL at a place."""
    return Problem("binary", f"{name}: not text ({place} is NUL). Exclude it from the corpus.")


def text_of(content: bytes, name: str) -> str | Problem:
    """Decode UTF-8, without a byte-order mark at its start. Content with a NUL byte is binary."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Problem("not_utf8", f"{name}: UTF-16. Convert it to UTF-8 (iconv -f UTF-16 -t UTF-8) or exclude it.")
    if b"\0" in content:
        return binary(name, f"byte {content.index(0)}")
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        return Problem(
            "not_utf8",
            f"{name}: not UTF-8 (byte {error.start} is 0x{content[error.start]:02x}). Convert or exclude it.",
        )


def document_of(path: Path, name: str, language: str, group: str = "") -> RawDocument | Problem:
    """Return a whole file as one document of a group. Raises FailureError if it cannot be read."""
    if path.stat().st_size > MOST_BYTES:
        return too_long(name)
    text = text_of(bytes_of_file(path), name)
    return text if isinstance(text, Problem) else RawDocument(name, text, language, group=group)


def bytes_of_file(path: Path) -> bytes:
    """Return the content of a file. Raises FailureError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FailureError(f"{path}: cannot be read ({error.strerror}).") from None
