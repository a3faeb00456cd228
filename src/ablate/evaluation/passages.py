"""Passages: the bytes that every arm is scored on.

A passage is a run of a held-out document's bytes, cut between characters, so that it is the same whatever the
tokenizer. Its halves are tokenized apart: the border that `bpb_continuation` needs is then a border of bytes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from ablate.errors import UsageError
from ablate.evaluation.held_out import HeldOut, HeldOutDocument
from ablate.evaluation.overlap import Overlap
from ablate.objectives.example import Tokens
from ablate.objectives.randomness import key64, keyed_rng

# All arms read the same passages, whatever a trial's seeds are.
EVALUATION_SEED = 0


@dataclass(frozen=True)
class Passage:
    """A scored run of bytes: two halves with their tokens (no special tokens) and their lengths in bytes.

    Attributes:
        overlap: the number of its 13-grams that also occur in the training text, and the number of all.
    """

    source: str
    document: str
    first_T: Tokens
    second_T: Tokens
    first_bytes: int
    second_bytes: int
    overlap: Overlap = None


@dataclass(frozen=True)
class _Place:
    """Where a passage lies: bytes start … end − 1 of a document, and the border of its halves."""

    document: HeldOutDocument
    start: int
    middle: int
    end: int

    def halves(self) -> tuple[str, str]:
        content = self.document.content
        return content[self.start : self.middle].decode(), content[self.middle : self.end].decode()

    def overlap(self) -> Overlap:
        if self.document.seen is None:
            return None
        content = self.document.content
        first = len(content[: self.start].decode())
        return self.document.seen.within(first, first + len(content[self.start : self.end].decode()))


def passages(held_out: HeldOut, *, passage_bytes: int, passages_per_source: int) -> list[Passage]:
    """Return the passages of each scored source: one of each document, then a second one of each, and so on.

    On the validation split, one of each document.

    Raises:
        UsageError: all documents of a source are shorter than a passage.
    """
    places = []
    documents = held_out.measured_documents(passages_per_source)
    for source, of_source in groupby(documents, key=lambda document: document.source):
        chosen = list(of_source)
        longest = max(len(document.content) for document in chosen)
        if longest < passage_bytes:
            raise UsageError(
                f"evaluation.suites.bits_per_byte.passage_bytes={passage_bytes}: longer than every document of "
                f"{source} on the {held_out.split} split. Type evaluation.suites.bits_per_byte.passage_bytes={longest} "
                "or less."
            )
        most = len(chosen) if held_out.split == "validation" else passages_per_source
        places += _spread(chosen, passage_bytes, most)
    halves = [place.halves() for place in places]
    first, second = (held_out.tokenizer.encode([half[side] for half in halves]) for side in (0, 1))
    return [
        Passage(
            place.document.source,
            place.document.name,
            first_T,
            second_T,
            place.middle - place.start,
            place.end - place.middle,
            place.overlap(),
        )
        for place, first_T, second_T in zip(places, first, second, strict=True)
    ]


def _spread(documents: Sequence[HeldOutDocument], passage_bytes: int, most: int) -> list[_Place]:
    """Return up to `most` places, from the documents in turn."""
    waiting = [_places(document, passage_bytes) for document in documents]
    chosen: list[_Place] = []
    while waiting and len(chosen) < most:
        turn = [(places, place) for places in waiting if (place := next(places, None)) is not None]
        chosen += [place for _, place in turn]
        waiting = [places for places, _ in turn]
    return chosen[:most]


def _places(document: HeldOutDocument, passage_bytes: int) -> Iterator[_Place]:
    """Yield places of a document that do not overlap, in an order drawn from its hash; a short one is one place."""
    content = document.content
    slots = max(1, len(content) // passage_bytes)
    rng = keyed_rng(EVALUATION_SEED, key64(document.text) >> 1, "passages")
    first = int(rng.integers(0, max(0, len(content) - slots * passage_bytes), endpoint=True))
    for slot in rng.permutation(slots).tolist():
        start = _character_border(content, first + slot * passage_bytes)
        end = _character_border(content, first + (slot + 1) * passage_bytes)
        middle = _character_border(content, (start + end) // 2)
        if start < middle < end:
            yield _Place(document, start, middle, end)


def _character_border(content: bytes, position: int) -> int:
    """The last border between two UTF-8 characters at or before a position."""
    position = min(position, len(content))
    while position < len(content) and content[position] & 0xC0 == 0x80:
        position -= 1
    return position
