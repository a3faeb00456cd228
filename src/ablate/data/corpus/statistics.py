"""How many documents were read, dropped and kept, by source and language."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# Source, language, outcome, documents, bytes.
Row = tuple[str, str, str, int, int]


@dataclass
class Statistics:
    """Counts of documents and bytes by (source, language, outcome).

    The outcome of a document is its split, or the reason why it was dropped.
    """

    documents: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    size_bytes: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def add(self, source: str, language: str, outcome: str, size_bytes: int) -> None:
        """Count a document."""
        self.documents[source, language, outcome] += 1
        self.size_bytes[source, language, outcome] += size_bytes

    def to_json(self) -> list[Row]:
        """Return rows of source, language, outcome, documents and bytes."""
        return [(*key, count, self.size_bytes[key]) for key, count in sorted(self.documents.items())]

    @classmethod
    def from_json(cls, rows: Iterable[Row]) -> "Statistics":
        """Sum rows of `to_json`, of one or several statistics."""
        total = cls()
        for source, language, outcome, documents, size_bytes in rows:
            total.documents[source, language, outcome] += documents
            total.size_bytes[source, language, outcome] += size_bytes
        return total

    def total(self, counter: Mapping[tuple[str, str, str], int], source: str, *outcomes: str) -> int:
        """Sum a counter over a source's languages, for the given outcomes or for all."""
        return sum(count for key, count in counter.items() if key[0] == source and (not outcomes or key[2] in outcomes))
