"""What a reader promises: a source in parts, each of which one worker reads into documents."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ablate.config.trial import ProblemKind
from ablate.errors import FailureError

# A document is held in memory whole.
MOST_BYTES = 2**30


@dataclass(frozen=True)
class RawDocument:
    """A text as it was found.

    Attributes:
        name: where in the source, for people.
        text: all of it.
        language: e.g. "Python", "English"; empty where the source does not say.
        licences: of the text, all of them; empty where the source does not say.
    """

    name: str
    text: str
    language: str = ""
    licences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Problem:
    """Something that is no document: it ends the reading, or is skipped and counted where the user asked for that.

    Attributes:
        kind: what `cleaning.skip` may name.
        message: place, what is wrong with it, and the remedy apart from skipping.
    """

    kind: ProblemKind
    message: str


@dataclass(frozen=True)
class Part:
    """What one worker reads at once.

    Attributes:
        label: says which one; unlike any other of its reader.
        size_bytes: about how much there is to read, for the progress bar.
        files: what it reads. A change of one makes stale what was read from it.
        span: where in them it begins and ends, as its reader counts.
    """

    label: str
    size_bytes: int
    files: tuple[Path, ...]
    span: tuple[int, int] = (0, 0)


class Reader(Protocol):
    """A frozen dataclass whose keyword-only fields are what YAML may set."""

    def parts(self) -> list[Part]:
        """All parts, always in the same order.

        Raises:
            UsageError: a path that is not there, or a pattern without a match.
            FailureError: what is to be read can't be reached.
        """
        ...

    def documents(self, part: Part) -> Iterator[RawDocument | Problem]:
        """The documents of one part, always in the same order. Raises FailureError: a file that can't be read."""
        ...


def too_long(name: str) -> Problem:
    """A text that is too long to be held in memory."""
    return Problem("too_long", f"{name}: more than {MOST_BYTES:,} bytes, the most of one text. Cut it into documents.")


def binary(name: str, place: str) -> Problem:
    """What holds a NUL, at this place."""
    return Problem("binary", f"{name}: not text ({place} is NUL). Leave it out of the corpus.")


def text_of(content: bytes, name: str) -> str | Problem:
    """UTF-8 bytes as text; a NUL byte makes them binary."""
    if b"\0" in content:
        return binary(name, f"byte {content.index(0)}")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        return Problem(
            "not_utf8",
            f"{name}: not UTF-8 (byte {error.start} is 0x{content[error.start]:02x}). Convert it, or leave it out.",
        )


def document_of(path: Path, name: str, language: str) -> RawDocument | Problem:
    """A whole file as one document. Raises FailureError where it can't be read."""
    if path.stat().st_size > MOST_BYTES:
        return too_long(name)
    text = text_of(bytes_of_file(path), name)
    return text if isinstance(text, Problem) else RawDocument(name, text, language)


def bytes_of_file(path: Path) -> bytes:
    """The content. Raises FailureError where it can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FailureError(f"{path}: cannot be read ({error.strerror}).") from None
