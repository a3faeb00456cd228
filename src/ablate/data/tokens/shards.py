"""Token shards: a folder of the cache, named by the corpus and the tokenizer that they are made from.

`tokens/<bucket>.<source>.bin` with `.idx` and `.crc32` (see `token_file`) are a source's train tokens, bucket after
bucket in the order of the documents' hashes; `held_out/<split>.<source>.parquet` its other documents; `tokenizer.json`,
`shards.json` and the data card `card.md` say what they are. `packed/` is made where a trial packs whole documents.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from ablate.config.parse import plain
from ablate.config.trial import Packing, TokenizerConfig, TrialConfig
from ablate.data.batches.best_fit import BestFit
from ablate.data.batches.rows import Rows, Windows
from ablate.data.corpus.cache import atomic_directory, cache_folder, held, link, remove, resume_task
from ablate.data.corpus.corpus import corpus_folder, prepared_corpus
from ablate.data.corpus.document import Split, documents_of, read_table, write_documents
from ablate.data.corpus.preparation_step import Stage
from ablate.data.tokens.card import TokenCounts, card
from ablate.data.tokens.pretokenized import PretokenizedSource
from ablate.data.tokens.token_file import TokenFile, file_sha256
from ablate.data.tokens.token_source import TokenSource
from ablate.data.tokens.tokenizer import Tokenizer
from ablate.data.tokens.tokenizing import ShardRecipe, made_tokenizer, make_tokenizer, tokenize_bucket
from ablate.errors import FailureError
from ablate.files import read_json, write_json
from ablate.versions import CODE_VERSIONS


@dataclass(frozen=True)
class Shards:
    """An open folder of shards."""

    folder: Path
    config: TokenizerConfig

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What `shards.json` says."""
        try:
            found = read_json(self.folder / "shards.json")
        except (OSError, ValueError):
            raise FailureError(f"{self.folder}: no shards of this version of ablate. Delete the folder.") from None
        assert isinstance(found, dict)
        return found

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that made the tokens."""
        return Tokenizer.from_json((self.folder / "tokenizer.json").read_text(), self.config)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of tokenizer and tokens: equal fingerprints mean equal windows."""
        return str(self.facts["fingerprint"])

    @property
    def sources(self) -> list[str]:
        """By name."""
        return list(self.facts["sources"])

    def source(self, source: str) -> TokenSource:
        """The train tokens of a source."""
        elsewhere = self.facts["elsewhere"].get(source)
        if elsewhere is not None:
            files = tuple(
                TokenFile(Path(path), self.folder / "tokens" / checksums) for path, checksums in elsewhere["files"]
            )
            gone = [path for path, _ in elsewhere["files"] if not Path(path).exists()]
            if gone:
                raise FailureError(
                    f"{gone[0]}: tokens of the source {source} that are gone. Put them back or, if they were moved, "
                    f"delete {self.folder} and the corpora beside it, and run data prepare with their new path."
                )
            ends = elsewhere["end_of_document"]
            return TokenSource(files, elsewhere["documents"], ends and tuple(ends))
        paths = sorted((self.folder / "tokens").glob(f"[0-9]*.{source}.bin"))
        files = tuple(TokenFile(path, path.with_suffix(".crc32")) for path in paths)
        return TokenSource(files, sum(file.documents for file in files))

    @property
    def counted(self) -> TokenCounts:
        """Of the train split: source, language, documents, bytes and tokens, text after text."""
        return [tuple(row) for row in self.facts["statistics"]]

    def rows(self, source: str, packing: Packing, window_tokens: int) -> Rows:
        """The train tokens of a source in rows."""
        tokens = self.source(source)
        if packing == "windows":
            return Windows(tokens, window_tokens)
        return BestFit(tokens, window_tokens, self.folder / "packed" / f"{window_tokens}.{source}")

    def counts_V(self, source: str) -> NDArray[np.int64]:
        """How often each id occurs in a source's text, the ends of documents aside."""
        total_V = np.zeros(self.config.vocab_size, np.int64)
        for path in sorted((self.folder / "tokens").glob(f"[0-9]*.{source}.npy")):
            count_V = np.load(path)
            total_V[: len(count_V)] += count_V
        return total_V

    def held_out(self, split: Split, source: str) -> Iterator[tuple[str, str]]:
        """(name, text) of the documents of a held-out split, in the order of their hash."""
        table = read_table(self.folder / "held_out" / f"{split}.{source}.parquet")
        return ((document.name, document.text) for document in documents_of(table))


def shard_folder(trial: TrialConfig) -> Path:
    """The folder of a trial's shards, named by the hash of all that they are made from.

    The corpus must carry its manifest hash: without it, a text that changes would keep its old tokens.
    """
    assert trial.corpus.manifest_sha256, "the sweeper fills the manifest in"
    # A corpus is known by its documents, a tokenizer's file by its hash, wherever they lie.
    corpus = [trial.corpus.manifest_sha256, trial.corpus.val_fraction, trial.corpus.test_fraction]
    recipe = [CODE_VERSIONS["data"], corpus, plain(replace(trial.tokenizer, path=None))]
    name = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
    return cache_folder(trial.cache_dir) / "shards" / name


def open_shards(trial: TrialConfig, progress: Progress | None = None) -> Shards:
    """The trial's shards, made first where they are missing; what an interrupted command left is taken up.

    Raises:
        FailureError: like `prepared_corpus`.
    """
    folder = shard_folder(trial)
    if not folder.is_dir():
        with held(folder) as work:
            if not folder.is_dir():
                _prepare(trial, folder, work, progress or Progress(disable=True))
    shards = Shards(folder, trial.tokenizer)
    if shards.facts.get("corpus") != corpus_folder(trial).name:
        # The same text may come from elsewhere; but another cleaning must not pass for it.
        prepared_corpus(trial, progress or Progress(disable=True))
    return shards


def _prepare(trial: TrialConfig, folder: Path, work: Path, progress: Progress) -> None:
    corpus = prepared_corpus(trial, progress)
    sources = tuple(sorted(trial.corpus.sources))
    recipe = ShardRecipe(
        corpus.folder.absolute(), corpus.manifest_sha256, len(corpus.buckets), sources, trial.tokenizer
    )
    resume_task(work, recipe.json)
    sizes = corpus.statistics.size_bytes
    train_bytes = sum(corpus.statistics.total(sizes, source, "train") for source in recipe.sources)
    for stage in (
        Stage("tokenizer", "tokenizer", make_tokenizer, [1]),
        Stage("tokens", "tokenizing", tokenize_bucket, [train_bytes // recipe.buckets] * recipe.buckets),
    ):
        stage.run(work, trial.preparation, progress)
    with atomic_directory(folder) as scratch:
        _assemble(work, scratch, recipe)
    remove(work)


def _assemble(work: Path, folder: Path, recipe: ShardRecipe) -> None:
    """The shards, of the tokenized buckets."""
    corpus = recipe.opened()
    link(work / "tokenizer/00000/tokenizer.json", folder / "tokenizer.json")
    (folder / "tokens").mkdir()
    for bucket in sorted((work / "tokens").glob("[0-9]*")):
        for path in bucket.iterdir():
            if path.suffix != ".json":
                link(path, folder / "tokens" / f"{bucket.name}.{path.name}")
    (folder / "held_out").mkdir()
    elsewhere = {source: found for source in recipe.sources if (found := PretokenizedSource.of(corpus, source)).parts}
    tokenizer = made_tokenizer(work, recipe.tokenizer)
    for source in recipe.sources:
        for split in ("validation", "test"):
            texts = elsewhere[source].held_out(split, tokenizer) if source in elsewhere else corpus.of(split, source)
            write_documents(folder / "held_out" / f"{split}.{source}.parquet", texts)
    digest = hashlib.sha256(tokenizer.fingerprint.encode())
    for source in recipe.sources:
        digest.update(source.encode())
        if source in elsewhere:
            lines = (f"{part.sha256} {part.end_of_document}\n" for part in elsewhere[source].parts)
            digest.update("".join(lines).encode())
        for path in sorted((folder / "tokens").glob(f"[0-9]*.{source}.bin")):
            with path.open("rb") as file:
                while content := file.read(2**24):
                    digest.update(content)
    counted = [row for path in sorted((work / "tokens").glob("[0-9]*/statistics.json")) for row in read_json(path)]
    written = {source: found.write(folder / "tokens", tokenizer) for source, found in elsewhere.items()}
    counted += [found.counted(tokenizer) for found in elsewhere.values()]
    fingerprint = digest.hexdigest()
    recipe.opened()
    (folder / "card.md").write_text(card(corpus, recipe.tokenizer, fingerprint, counted), encoding="utf-8")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    facts = {
        "fingerprint": fingerprint,
        "corpus": corpus.folder.name,
        "sources": recipe.sources,
        "elsewhere": written,
        "statistics": counted,
        "checksums": {str(path.relative_to(folder)): file_sha256(path) for path in files},
    }
    write_json(folder / "shards.json", facts)
