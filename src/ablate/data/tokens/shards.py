"""Token shards: a folder of the cache, named by the corpus and the tokenizer that they are made from.

`tokens/<bucket>.<source>.bin`, with `.idx` and `.crc32` (see `token_file`), hold a source's train tokens, in the order
of the documents' hashes; `.groups` has a hash of each one's group, for `mixture.packing=groups`.
`held_out/<split>.<source>.parquet` hold its other documents. `tokenizer.json`, `shards.json` and the data card
`card.md` describe them. `packed/` appears when a trial packs whole documents.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter
from rich.progress import Progress

from ablate.config.data import TokenizerConfig
from ablate.config.parse import plain
from ablate.config.trial import TrialConfig
from ablate.data.corpus.cache import build_once, cache_folder, link, read_checked
from ablate.data.corpus.corpus import Corpus, prepared_corpus
from ablate.data.corpus.document import Document, Split, read_documents, write_documents
from ablate.data.corpus.preparation import prepare
from ablate.data.corpus.preparation_step import PreparationStep
from ablate.data.corpus.recipe import corpus_folder
from ablate.data.corpus.token_file import TokenFile
from ablate.data.tokens.card import TokenStatistics, card
from ablate.data.tokens.pretokenized import PretokenizedFiles, PretokenizedSource
from ablate.data.tokens.token_source import TokenSource
from ablate.data.tokens.tokenizer import Tokenizer
from ablate.data.tokens.tokenizing import ShardRecipe, make_tokenizer, stored_tokenizer, tokenize_bucket
from ablate.errors import FailureError, UsageError
from ablate.files import file_sha256, read_json, write_json
from ablate.versions import CACHE_FORMAT, CODE_VERSIONS


@dataclass(frozen=True)
class ShardFacts:
    """The content of `shards.json`.

    Attributes:
        fingerprint: SHA-256 of tokenizer and tokens; equal fingerprints mean equal windows.
        corpus: name of the corpus folder.
        sources: their names, sorted.
        pretokenized: the files of pre-tokenized sources, by source.
        statistics: of the train split.
        checksums: SHA-256 of all other files, by their path in the folder.
    """

    fingerprint: str
    corpus: str
    sources: list[str]
    pretokenized: dict[str, PretokenizedFiles]
    statistics: TokenStatistics
    checksums: dict[str, str]


_FACTS = TypeAdapter(ShardFacts)


@dataclass(frozen=True)
class Shards:
    """An open folder of shards."""

    folder: Path
    config: TokenizerConfig

    @cached_property
    def facts(self) -> ShardFacts:
        """The content of `shards.json`. Raises FailureError if it cannot be read."""
        return read_checked(self.folder / "shards.json", _FACTS)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that made the tokens."""
        return Tokenizer.from_json((self.folder / "tokenizer.json").read_text(), self.config)

    def source(self, source: str) -> TokenSource:
        """Return the train tokens of a source."""
        stored = self.facts.pretokenized.get(source)
        if stored is None:
            paths = sorted((self.folder / "tokens").glob(f"[0-9]*.{source}.bin"))
            files = tuple(TokenFile(path, path.with_suffix(".crc32")) for path in paths)
            return TokenSource(files, sum(file.documents for file in files))
        gone = [path for path, _ in stored.files if not Path(path).exists()]
        if gone:
            raise FailureError(
                f"{gone[0]}: this shard of the source {source} is gone. Restore it; or, if it was moved, delete "
                f"{self.folder} and the folder corpora in {self.folder.parents[1]}, and run data prepare with the new "
                "path."
            )
        files = tuple(TokenFile(Path(path), self.folder / "tokens" / checksums) for path, checksums in stored.files)
        return TokenSource(files, stored.documents, stored.end_of_document)

    def group_files(self, source: str) -> tuple[Path, ...]:
        """Return the files with each document's group. Raises UsageError for a pre-tokenized source."""
        if source in self.facts.pretokenized:
            raise UsageError(
                f"mixture.packing=groups: the source {source} is pre-tokenized, so its documents have no groups. Type "
                "mixture.packing=best_fit, or give it as text."
            )
        return tuple(sorted((self.folder / "tokens").glob(f"[0-9]*.{source}.groups")))

    def counts_V(self, source: str) -> NDArray[np.int64]:
        """Return how often each id occurs in a source's train text, without the ends of documents."""
        total_V = np.zeros(self.config.vocab_size, np.int64)
        for path in sorted((self.folder / "tokens").glob(f"[0-9]*.{source}.npy")):
            count_V = np.load(path)
            total_V[: len(count_V)] += count_V
        return total_V

    def held_out(self, split: Split, source: str) -> Iterator[Document]:
        """Yield the documents of a held-out split, in the order of their hashes."""
        return read_documents(self.folder / "held_out" / f"{split}.{source}.parquet")


def shard_folder(trial: TrialConfig) -> Path:
    """Return the folder of a trial's shards, named by the hash of everything that they are made from.

    The corpus must have its manifest hash; without it, changed text would keep its old tokens.
    """
    assert trial.corpus.manifest_sha256, "the sweeper fills the manifest in"
    # Paths do not count: the manifest identifies the corpus, and its hash a tokenizer's file.
    corpus = [trial.corpus.manifest_sha256, trial.corpus.val_fraction, trial.corpus.test_fraction]
    recipe = [CACHE_FORMAT, CODE_VERSIONS["data"], corpus, plain(replace(trial.tokenizer, path=None))]
    if not trial.mixture.leading_end_of_text:
        recipe.append("no leading <|endoftext|>")
    if trial.mixture.packing == "groups":
        recipe.append("groups")
    name = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
    return cache_folder(trial.cache_dir) / "shards" / name


def open_shards(trial: TrialConfig, progress: Progress | None = None) -> Shards:
    """Return the trial's shards, and make them first if they are missing. Resumes an interrupted preparation.

    Raises:
        FailureError: like `prepared_corpus`.
    """
    progress = progress or Progress(disable=True)
    folder = shard_folder(trial)
    build_once(folder, lambda work: _prepare(trial, folder, work, progress))
    shards = Shards(folder, trial.tokenizer)
    if shards.facts.corpus != corpus_folder(trial).name:
        # Other sources may yield the same text; but with another cleaning, the manifest must be checked again.
        prepared_corpus(trial, progress)
    return shards


def _prepare(trial: TrialConfig, folder: Path, work: Path, progress: Progress) -> None:
    corpus = prepared_corpus(trial, progress)
    sources = tuple(sorted(trial.corpus.sources))
    recipe = ShardRecipe(
        corpus.folder.absolute(),
        corpus.manifest_sha256,
        len(corpus.buckets),
        sources,
        trial.tokenizer,
        trial.mixture.leading_end_of_text,
        trial.mixture.packing == "groups",
    )
    sizes = corpus.statistics.size_bytes
    train_bytes = sum(corpus.statistics.total(sizes, source, "train") for source in sources)
    steps = [
        PreparationStep("tokenizer", "tokenizer", make_tokenizer, [1]),
        PreparationStep("tokens", "tokenizing", tokenize_bucket, [train_bytes // recipe.buckets] * recipe.buckets),
    ]

    def assemble(scratch: Path) -> None:
        _assemble(work, scratch, recipe)

    prepare(folder, work, recipe.json, steps, assemble, trial.preparation, progress)


def _assemble(work: Path, folder: Path, recipe: ShardRecipe) -> None:
    """Write the shards from the tokenized buckets."""
    corpus = recipe.open_corpus()
    link(work / "tokenizer/00000/tokenizer.json", folder / "tokenizer.json")
    (folder / "tokens").mkdir()
    for bucket in sorted((work / "tokens").glob("[0-9]*")):
        for path in bucket.iterdir():
            if path.suffix != ".json":
                link(path, folder / "tokens" / f"{bucket.name}.{path.name}")
    (folder / "held_out").mkdir()
    pretokenized = {
        source: tokens for source in recipe.sources if (tokens := PretokenizedSource.of(corpus, source)).parts
    }
    tokenizer = stored_tokenizer(work, recipe.tokenizer)
    for source in recipe.sources:
        shards = pretokenized.get(source)
        for split in ("validation", "test"):
            documents = shards.held_out(split, tokenizer) if shards else _with_overlap(corpus, split, source)
            write_documents(folder / "held_out" / f"{split}.{source}.parquet", documents)
    fingerprint = _fingerprint(folder, recipe, tokenizer, pretokenized)
    statistics = [row for path in sorted((work / "tokens").glob("[0-9]*/statistics.json")) for row in read_json(path)]
    written = {source: tokens.write(folder / "tokens", tokenizer) for source, tokens in pretokenized.items()}
    statistics += [tokens.statistics(tokenizer) for tokens in pretokenized.values()]
    recipe.open_corpus()
    (folder / "card.md").write_text(card(corpus, recipe.tokenizer, fingerprint, statistics), encoding="utf-8")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    checksums = {str(path.relative_to(folder)): file_sha256(path) for path in files}
    facts = ShardFacts(fingerprint, corpus.folder.name, list(recipe.sources), written, statistics, checksums)
    write_json(folder / "shards.json", asdict(facts))


def _with_overlap(corpus: Corpus, split: Split, source: str) -> Iterator[Document]:
    return (replace(document, seen=corpus.seen[document.sha256]) for document in corpus.of(split, source))


def _fingerprint(
    folder: Path, recipe: ShardRecipe, tokenizer: Tokenizer, pretokenized: dict[str, PretokenizedSource]
) -> str:
    digest = hashlib.sha256(tokenizer.fingerprint.encode())
    for source in recipe.sources:
        digest.update(source.encode())
        if source in pretokenized:
            lines = (f"{part.sha256} {part.end_of_document}\n" for part in pretokenized[source].parts)
            digest.update("".join(lines).encode())
        for path in sorted((folder / "tokens").glob(f"[0-9]*.{source}.bin")):
            for part in (path, *path.parent.glob(f"{path.stem}.groups")):
                with part.open("rb") as file:
                    while content := file.read(2**24):
                        digest.update(content)
    return digest.hexdigest()
