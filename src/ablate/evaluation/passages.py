"""Passages: the bytes that every arm is scored on.

A passage is a run of a held-out document's bytes, cut between characters, so that it is the same whatever the
tokenizer. Its halves are tokenized apart: the border that `bpb_continuation` needs is then a border of bytes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from ablate.config.trial import EvaluationConfig
from ablate.data.corpus.document import Split
from ablate.data.tokens.shards import Shards
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
    shards: Shards,
    config: EvaluationConfig,
    split: Split,
    sources: Sequence[str],
    documents_per_source: int,
) -> list[Passage]:
    """The passages of a split: of each source its first documents by hash, of each document its first bytes."""
    cut = [
        (source, name, half)
        for source in sorted(sources)
        for name, text in islice(shards.held_out(split, source), documents_per_source)
        for half in _halves(text, config.passage_bytes, config.passages_per_document)
    ]
    first = shards.tokenizer.encode([half[0] for _, _, half in cut])
    second = shards.tokenizer.encode([half[1] for _, _, half in cut])
    return [
        Passage(source, name, first_T, second_T, len(half[0].encode()), len(half[1].encode()))
        for (source, name, half), first_T, second_T in zip(cut, first, second, strict=True)
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
