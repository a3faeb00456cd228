"""Passages: the bytes that every arm is scored on.

A passage is a run of a held-out document's bytes, cut between characters, so that it is the same whatever the
tokenizer. Its halves are tokenized apart: the border that `bpb_continuation` needs is then a border of bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ablate.evaluation.held_out import HeldOut
from ablate.objectives.example import Tokens


@dataclass(frozen=True)
class Passage:
    """A scored run of bytes: two halves with their tokens (no special tokens) and their lengths in bytes."""

    source: str
    document: str
    first_T: Tokens
    second_T: Tokens
    first_bytes: int
    second_bytes: int


def passages(
    held_out: HeldOut, *, passage_bytes: int, passages_per_document: int, documents_per_source: int
) -> list[Passage]:
    """The first passages of each document."""
    halves = [
        (source, name, half)
        for source, name, text in held_out.documents(documents_per_source)
        for half in _halves(text, passage_bytes, passages_per_document)
    ]
    first = held_out.tokenizer.encode([half[0] for _, _, half in halves])
    second = held_out.tokenizer.encode([half[1] for _, _, half in halves])
    return [
        Passage(source, name, first_T, second_T, len(half[0].encode()), len(half[1].encode()))
        for (source, name, half), first_T, second_T in zip(halves, first, second, strict=True)
    ]


def _halves(text: str, passage_bytes: int, most: int) -> Iterator[tuple[str, str]]:
    """(first half, second half) of each passage of a text."""
    content = text.encode()
    start = 0
    for _ in range(most):
        end = _character_border(content, start + passage_bytes)
        middle = _character_border(content, (start + end) // 2)
        if not start < middle < end:
            return
        yield content[start:middle].decode(), content[middle:end].decode()
        start = end


def _character_border(content: bytes, position: int) -> int:
    """The last border between two UTF-8 characters at or before a position."""
    position = min(position, len(content))
    while position < len(content) and content[position] & 0xC0 == 0x80:
        position -= 1
    return position
