"""Token shards in memory-mapped files, cached by what they are made from.

A shard folder holds `tokenizer.json`; for each source of the train split `<source>.tokens.npy` (each document between
two `<|endoftext|>`) and `<source>.starts.npy` (where each begins); the held-out texts as `<split>.<source>.json`; and
`shards.json`. It is written under another name and renamed when whole, so a folder that exists is complete.
"""

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_dir

from ablate.config import CorpusConfig, TokenizerConfig, TrialConfig
from ablate.data.corpus import Corpus, Split, read_corpus
from ablate.data.tokenizer import Tokenizer
from ablate.errors import FailureError
from ablate.identity import CODE_VERSIONS
from ablate.parsing import plain

_ENCODE_AT_ONCE = 256


@dataclass(frozen=True)
class Shards:
    """An open shard folder."""

    folder: Path
    config: TokenizerConfig

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that made the tokens."""
        return Tokenizer.from_json((self.folder / "tokenizer.json").read_text(), self.config)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of tokenizer and tokens: equal fingerprints mean equal windows."""
        return str(json.loads((self.folder / "shards.json").read_text())["fingerprint"])

    def tokens(self, source: str) -> NDArray[np.unsignedinteger]:
        """The train tokens of a source, memory-mapped."""
        return np.load(self.folder / f"{source}.tokens.npy", mmap_mode="r")  # type: ignore[no-any-return]

    def starts(self, source: str) -> NDArray[np.int64]:
        """Where each train document of a source begins in `tokens`."""
        return np.load(self.folder / f"{source}.starts.npy", mmap_mode="r")  # type: ignore[no-any-return]

    def held_out(self, split: Split, source: str) -> list[tuple[str, str]]:
        """(name, text) of the documents of a held-out split, in the order of their hash."""
        path = self.folder / f"{split}.{source}.json"
        return [(name, text) for name, text in json.loads(path.read_text())]


def cache_folder(cache_dir: str | None) -> Path:
    """Where shards are kept: the given folder, or the user's cache folder."""
    return Path(cache_dir).expanduser() if cache_dir else Path(user_cache_dir("ablate"))


def shard_folder(trial: TrialConfig) -> Path:
    """The folder of a trial's shards, named by the hash of all that they are made from.

    The corpus must carry its manifest hash: without it, a text that changes would keep its old tokens.
    """
    assert trial.corpus.manifest_sha256, "the sweeper fills the manifest in"
    # A tokenizer's file is known by its hash, wherever it lies.
    recipe = [CODE_VERSIONS["data"], plain(trial.corpus), plain(replace(trial.tokenizer, path=None))]
    name = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
    return cache_folder(trial.cache_dir) / "shards" / name


def open_shards(trial: TrialConfig) -> Shards:
    """The trial's shards, made first where they are missing. Raises FailureError like `read_corpus`."""
    folder = shard_folder(trial)
    if not folder.is_dir():
        _write(folder, trial.corpus, trial.tokenizer)
    return Shards(folder, trial.tokenizer)


def _write(folder: Path, corpus_config: CorpusConfig, tokenizer_config: TokenizerConfig) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise FailureError(
            f"{folder.parent}: cannot write the token cache ({error.strerror}). Choose another place with cache_dir=…"
        ) from None
    try:
        corpus = read_corpus(corpus_config)
        sources = sorted(corpus_config.sources)
        tokenizer = Tokenizer.of(
            tokenizer_config,
            lambda: [document.text for source in sources for document in corpus.of("train", source)],
        )
        (scratch / "tokenizer.json").write_text(tokenizer.json)
        digest = hashlib.sha256(tokenizer.fingerprint.encode())
        for source in sources:
            _write_source(scratch, source, corpus, tokenizer, digest)
        (scratch / "shards.json").write_text(json.dumps({"fingerprint": digest.hexdigest()}))
        try:
            scratch.rename(folder)
        except OSError:
            # Another process was faster; its folder is as good as ours.
            if not folder.is_dir():
                raise
    except OSError as error:
        raise FailureError(f"{folder.parent}: cannot write the token cache ({error}).") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write_source(scratch: Path, source: str, corpus: Corpus, tokenizer: Tokenizer, digest: "hashlib._Hash") -> None:
    border = np.array([tokenizer.special.end_of_text], np.int32)
    texts = [document.text for document in corpus.of("train", source)]
    pieces: list[NDArray[np.int32]] = []
    starts = [0]
    for first in range(0, len(texts), _ENCODE_AT_ONCE):
        for tokens in tokenizer.encode(texts[first : first + _ENCODE_AT_ONCE]):
            pieces += [border, tokens, border]
            starts.append(starts[-1] + len(tokens) + 2)
    all_tokens = np.concatenate(pieces).astype(np.min_scalar_type(tokenizer.entries - 1))
    digest.update(source.encode() + all_tokens.tobytes())
    np.save(scratch / f"{source}.tokens.npy", all_tokens)
    np.save(scratch / f"{source}.starts.npy", np.array(starts[:-1], np.int64))
    for split in ("tune", "test"):
        rows = [(document.name, document.text) for document in corpus.of(split, source)]
        (scratch / f"{split}.{source}.json").write_text(json.dumps(rows))
