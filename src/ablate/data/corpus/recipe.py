"""What a corpus is made from: its configuration, and the parts and files of its sources."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pydantic import TypeAdapter

from ablate.config.data import CleaningConfig, CorpusConfig
from ablate.config.parse import checked_parameters, plain
from ablate.config.trial import TrialConfig
from ablate.data.corpus.cache import cache_folder, read_checked
from ablate.data.corpus.readers import READERS
from ablate.data.corpus.readers.reader import Part, Reader
from ablate.data.corpus.readers.tokens import MegatronShards
from ablate.errors import UsageError, nearest
from ablate.versions import CACHE_FORMAT, CODE_VERSIONS

# Bytes of text per bucket, which one worker sorts in memory; and the most buckets.
_BUCKET_BYTES, _MOST_BUCKETS = 2**25, 1024


@dataclass(frozen=True)
class SourcePart:
    """A part of one of a source's readers, which the label names."""

    source: str
    label: str
    part: Part


@dataclass(frozen=True)
class Recipe:
    """What a corpus is made from.

    Attributes:
        corpus: its configuration, without the expected manifest.
        cleaning: which documents are kept.
        parts: of all sources. Of two equal texts, the one in the earlier part is kept.
        files: size in bytes and modification time in ns, by path.
    """

    corpus: CorpusConfig
    cleaning: CleaningConfig
    parts: tuple[SourcePart, ...]
    files: dict[str, tuple[int, int]]

    @classmethod
    def of(cls, corpus: CorpusConfig, cleaning: CleaningConfig) -> "Recipe":
        """List what there is to read. Raises like `check_readers` and `Reader.parts`."""
        check_readers(corpus)
        parts = tuple(
            SourcePart(source, label, part)
            for source, readers in sorted(corpus.sources.items())
            for label in sorted(readers)
            for part in reader_of(corpus, source, label).parts()
        )
        files = _file_states(path for entry in parts for path in entry.part.files)
        return cls(replace(corpus, manifest_sha256=None), cleaning, parts, files)

    @classmethod
    def read(cls, folder: Path) -> "Recipe":
        """Read the recipe of a corpus or work folder. Raises FailureError if it cannot be read."""
        return read_checked(folder / "recipe.json", _RECIPE)

    @property
    def json(self) -> bytes:
        """The recipe as JSON; equal for equal recipes."""
        return json.dumps(_RECIPE.dump_python(self, mode="json"), sort_keys=True).encode()

    def reader(self, entry: SourcePart) -> Reader | MegatronShards:
        """Return the reader of a part."""
        return reader_of(self.corpus, entry.source, entry.label)

    @cached_property
    def size_bytes(self) -> int:
        """Approximate size of all parts."""
        return sum(entry.part.size_bytes for entry in self.parts)

    @property
    def buckets(self) -> int:
        """Number of ranges of hashes that the documents are sorted into."""
        return min(_MOST_BUCKETS, 1 + self.size_bytes // _BUCKET_BYTES)

    def changed_file(self) -> str | None:
        """Return a local file that was changed, removed or added since, or None."""
        local = {(entry.source, entry.label) for entry in self.parts if entry.part.files}
        states = _file_states(
            path
            for source, label in local
            for part in reader_of(self.corpus, source, label).parts()
            for path in part.files
        )
        changed = (path for path in states.keys() | self.files.keys() if states.get(path) != self.files.get(path))
        return min(changed, default=None)


_RECIPE = TypeAdapter(Recipe)


def recipe_name(corpus: CorpusConfig, cleaning: CleaningConfig) -> str:
    """Return 16 hex digits of SHA-256 over everything in the configuration that decides what is read and kept."""
    content = [CACHE_FORMAT, CODE_VERSIONS["data"], plain(replace(corpus, manifest_sha256=None)), plain(cleaning)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def corpus_folder(trial: TrialConfig) -> Path:
    """Return the folder of the trial's corpus, whether it exists or not."""
    return cache_folder(trial.cache_dir) / "corpora" / recipe_name(trial.corpus, trial.cleaning)


def check_readers(config: CorpusConfig) -> None:
    """Check the readers of all sources before anything is read.

    Raises:
        UsageError: an unknown reader or parameter, or a source that mixes pre-tokenized shards with text, or shards
            with different `end_of_document`.
    """
    for source, labels in config.sources.items():
        readers = [reader_of(config, source, label) for label in labels]
        ends = {reader.end_of_document for reader in readers if isinstance(reader, MegatronShards)}
        if ends and (len(ends) > 1 or not all(isinstance(reader, MegatronShards) for reader in readers)):
            raise UsageError(
                f"corpus.sources.{source}: pre-tokenized shards need a source of their own, with one end_of_document. "
                f"Given: {', '.join(labels)}. Move the other readers to another source, with its own mixture weight."
            )


def reader_of(config: CorpusConfig, source: str, label: str) -> Reader | MegatronShards:
    """Return a configured reader. Raises UsageError: an unknown reader or parameter."""
    chosen, where = config.sources[source][label], f"corpus.sources.{source}.{label}"
    if chosen.reader not in READERS:
        raise UsageError(f"{where}.reader={chosen.reader}: no such reader. {nearest(chosen.reader, READERS)}")
    kind = READERS[chosen.reader]
    return kind(**checked_parameters(kind, chosen.parameters, where))


def _file_states(paths: Iterable[Path]) -> dict[str, tuple[int, int]]:
    states = {}
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        states[str(path)] = (status.st_size, status.st_mtime_ns)
    return states
