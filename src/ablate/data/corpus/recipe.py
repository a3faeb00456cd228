"""What a corpus is made from: its configuration, and the parts and files that it was found to have."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pydantic import TypeAdapter

from ablate.config.parse import checked_parameters, plain
from ablate.config.trial import CleaningConfig, CorpusConfig
from ablate.data.corpus.readers import READERS
from ablate.data.corpus.readers.reader import Part, Reader
from ablate.data.corpus.readers.tokens import MegatronShards
from ablate.errors import FailureError, UsageError, nearest
from ablate.versions import CODE_VERSIONS

# Of text. A bucket is sorted in memory by one worker.
_BUCKET_BYTES, _MOST_BUCKETS = 2**25, 1024


@dataclass(frozen=True)
class SourcePart:
    """A part of one of a source's readers."""

    source: str
    label: str
    part: Part


@dataclass(frozen=True)
class Recipe:
    """What a corpus is made from.

    Attributes:
        corpus: its configuration, without the manifest that it is to have.
        cleaning: which documents are kept.
        parts: of all sources, in the order in which the first of two equal texts is the one that stays.
        files: size in bytes and time of the last change in ns, by path.
    """

    corpus: CorpusConfig
    cleaning: CleaningConfig
    parts: tuple[SourcePart, ...]
    files: dict[str, tuple[int, int]]

    @classmethod
    def of(cls, corpus: CorpusConfig, cleaning: CleaningConfig) -> "Recipe":
        """Lists what there is to read. Raises like `check_readers` and `Reader.parts`."""
        check_readers(corpus)
        parts = tuple(
            SourcePart(source, label, part)
            for source, readers in sorted(corpus.sources.items())
            for label in sorted(readers)
            for part in reader_of(corpus, source, label).parts()
        )
        files = _states(path for found in parts for path in found.part.files)
        return cls(replace(corpus, manifest_sha256=None), cleaning, parts, files)

    def reader(self, part: SourcePart) -> Reader | MegatronShards:
        """Who reads a part."""
        return reader_of(self.corpus, part.source, part.label)

    @cached_property
    def buckets(self) -> int:
        """How many ranges of hashes the documents are sorted into."""
        return min(_MOST_BUCKETS, 1 + sum(found.part.size_bytes for found in self.parts) // _BUCKET_BYTES)

    @property
    def json(self) -> bytes:
        """Equal for equal recipes."""
        return json.dumps(_RECIPE.dump_python(self, mode="json"), sort_keys=True).encode()

    @classmethod
    def read(cls, folder: Path) -> "Recipe":
        """The `json` that a folder has. Raises FailureError where it can't be read."""
        try:
            return _RECIPE.validate_json((folder / "recipe.json").read_bytes())
        except (OSError, ValueError):
            raise FailureError(f"{folder}: no corpus of this version of ablate. Delete the folder.") from None

    def changed_file(self) -> str | None:
        """A local file that is no more what it was, is gone or is new."""
        now = {
            source: {label: readers[label] for label in readers if self._is_local(source, label)}
            for source, readers in self.corpus.sources.items()
        }
        listed = {
            path
            for source, readers in now.items()
            for label in readers
            for part in reader_of(self.corpus, source, label).parts()
            for path in part.files
        }
        states = _states(listed)
        return min(
            (path for path in states.keys() | self.files.keys() if states.get(path) != self.files.get(path)),
            default=None,
        )

    def _is_local(self, source: str, label: str) -> bool:
        return any(found.part.files for found in self.parts if (found.source, found.label) == (source, label))


_RECIPE = TypeAdapter(Recipe)


def recipe_name(corpus: CorpusConfig, cleaning: CleaningConfig) -> str:
    """16 hex digits of SHA-256 over everything in the configuration that decides what is read and kept."""
    content = [CODE_VERSIONS["data"], plain(replace(corpus, manifest_sha256=None)), plain(cleaning)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def check_readers(config: CorpusConfig) -> None:
    """Refuses what can't be read, before anything is: a reader that is not there or has wrong parameters, and a source
    of text and of tokens made elsewhere, or of tokens that end documents in two ways. Raises UsageError.
    """
    for source, readers in config.sources.items():
        found = [reader_of(config, source, label) for label in readers]
        ends = {reader.end_of_document for reader in found if isinstance(reader, MegatronShards)}
        if ends and (len(ends) > 1 or not all(isinstance(reader, MegatronShards) for reader in found)):
            raise UsageError(
                f"corpus.sources.{source}: tokens made elsewhere are a source of their own, with one end_of_document. "
                f"Given: {', '.join(readers)}. Name another source for what differs, and give it a weight."
            )


def reader_of(config: CorpusConfig, source: str, label: str) -> Reader | MegatronShards:
    """A configured reader. Raises UsageError."""
    chosen, where = config.sources[source][label], f"corpus.sources.{source}.{label}"
    if chosen.reader not in READERS:
        raise UsageError(f"{where}.reader={chosen.reader}: no such reader. {nearest(chosen.reader, READERS)}")
    kind = READERS[chosen.reader]
    return kind(**checked_parameters(kind, chosen.parameters, where))


def _states(paths: Iterable[Path]) -> dict[str, tuple[int, int]]:
    found = {}
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        found[str(path)] = (status.st_size, status.st_mtime_ns)
    return found
