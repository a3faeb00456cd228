"""What was read, dropped and kept, by source and language."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Statistics:
    """Documents and bytes by (source, language, what became of them).

    What became of a document is `train`, `tune`, `test`, or the reason why it was dropped.
    """

    documents: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    size_bytes: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def add(self, source: str, language: str, became: str, size_bytes: int) -> None:
        """Counts a document."""
        self.documents[source, language, became] += 1
        self.size_bytes[source, language, became] += size_bytes

    def to_json(self) -> list[list[Any]]:
        """Rows of source, language, what became of them, documents, bytes."""
        return [[*key, count, self.size_bytes[key]] for key, count in sorted(self.documents.items())]

    @classmethod
    def from_json(cls, rows: Iterable[list[Any]]) -> "Statistics":
        """What `to_json` gave, or several of it."""
        found = cls()
        for source, language, became, documents, size_bytes in rows:
            found.documents[source, language, became] += documents
            found.size_bytes[source, language, became] += size_bytes
        return found

    def total(self, counter: Mapping[tuple[str, str, str], int], source: str, *became: str) -> int:
        """The sum over languages; over everything where no `became` is given."""
        return sum(count for key, count in counter.items() if key[0] == source and (not became or key[2] in became))
