"""Text to ids and back. No text can spell a special token."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import tiktoken
import tokenizers

from ablate.config.data import TokenizerConfig
from ablate.data.tokens.fast_encoding import fast_encoding, is_too_long
from ablate.data.tokens.text_splitter import TextSplitter
from ablate.data.tokens.vocabulary import build, bytes_of_entries, can_split
from ablate.errors import UsageError
from ablate.files import read_json
from ablate.objectives.example import STRUCTURAL_TOKENS, SpecialTokens, Tokens

GPT2_END_OF_TEXT = 50256
CODEGEN2_SEPARATOR, CODEGEN2_FIRST_MASK = 50299, 51199


def special_tokens(config: TokenizerConfig) -> SpecialTokens:
    """Return the special tokens' ids: the last ones of the vocabulary, except those that GPT-2 and CodeGen2 define."""
    masks = config.mask_sentinels
    if config.kind == "codegen2":
        # `<eom>` follows `<sep>`; special tokens that the release does not have come after it.
        structural = SpecialTokens.consecutive(CODEGEN2_SEPARATOR - 1, 0)
        numbered = tuple(range(CODEGEN2_FIRST_MASK, CODEGEN2_FIRST_MASK - masks, -1))
        return SpecialTokens(**vars(structural) | {"end_of_text": GPT2_END_OF_TEXT, "masks": numbered})
    if config.kind == "hub":
        return special_tokens_of_folder(config)
    if config.kind == "gpt2":
        structural = SpecialTokens.consecutive(config.vocab_size - STRUCTURAL_TOKENS - masks, masks)
        return SpecialTokens(**vars(structural) | {"end_of_text": GPT2_END_OF_TEXT})
    return SpecialTokens.consecutive(config.vocab_size - STRUCTURAL_TOKENS - masks, masks)


def special_tokens_of_folder(config: TokenizerConfig) -> SpecialTokens:
    """Return the special tokens of a folder by their names; those that it lacks have ids beyond the vocabulary.

    `config.json` may name other ids for the ends of texts, and is not read: in CodeGen2's they are stale.

    Raises:
        UsageError: no file of the folder names the token that ends a text.
    """
    folder = Path(str(config.path)).expanduser()
    try:
        ids = {token["content"]: token["id"] for token in read_json(folder / "tokenizer.json")["added_tokens"]}
        end = read_json(folder / "tokenizer_config.json")["eos_token"]
        end_of_text = ids[end["content"] if isinstance(end, dict) else end]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"tokenizer.path={config.path}: no token that ends a text ({type(error).__name__}: {error}). It is "
            "`eos_token` of tokenizer_config.json, and one of the added tokens of tokenizer.json. Give a folder that "
            "has both, or "
            "another tokenizer: tokenizer=gpt2|codegen2"
        ) from None
    absent = SpecialTokens.consecutive(config.vocab_size, config.mask_sentinels)
    id_of = {id_: ids.get(name, id_) for id_, name in absent.names().items()}
    return SpecialTokens(
        end_of_text=end_of_text,
        separator=id_of[absent.separator],
        end_of_mask=id_of[absent.end_of_mask],
        prefix=id_of[absent.prefix],
        suffix=id_of[absent.suffix],
        middle=id_of[absent.middle],
        modes=(id_of[absent.modes[0]], id_of[absent.modes[1]], id_of[absent.modes[2]]),
        masks=tuple(id_of[id_] for id_ in absent.masks),
    )


@dataclass(frozen=True)
class Tokenizer:
    """Text to ids and back.

    Special tokens have no string: `<mask_1>` in a source file is plain text.

    Attributes:
        vocabulary: the tokens of text.
        special: ids that no text is encoded to.
        vocab_size: number of ids of the model, special tokens included.
        kind: as in the configuration.
    """

    vocabulary: tokenizers.Tokenizer
    special: SpecialTokens
    vocab_size: int
    kind: str

    @classmethod
    def of(cls, config: TokenizerConfig, texts: Callable[[], Iterable[str]]) -> "Tokenizer":
        """Return the configured tokenizer; `bpe` is trained on the texts. Raises like `build`."""
        return cls(build(config, texts), special_tokens(config), config.vocab_size, config.kind)

    @classmethod
    def from_json(cls, json: str, config: TokenizerConfig) -> "Tokenizer":
        """Return the tokenizer of a stored `json`."""
        vocabulary = tokenizers.Tokenizer.from_str(json)
        vocabulary.encode_special_tokens = True
        return cls(vocabulary, special_tokens(config), config.vocab_size, config.kind)

    @property
    def json(self) -> str:
        """The vocabulary as a tokenizer.json, which `from_json` reads."""
        return self.vocabulary.to_str()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides the ids of a text."""
        return hashlib.sha256(f"{self.vocab_size}\n{self.special}\n{self.json}".encode()).hexdigest()

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Return the ids of each text, without special tokens."""
        fast = self._fast
        if fast is None or any(map(is_too_long, texts)):
            encodings = self.vocabulary.encode_batch_fast(list(texts), add_special_tokens=False)
            return [np.array(encoding.ids, np.int32) for encoding in encodings]
        return [np.array(fast.encode_ordinary(text), np.int32) for text in texts]

    def decode(self, tokens_T: Tokens) -> str:
        """Return the text of ids without special tokens."""
        return self.vocabulary.decode(tokens_T.tolist(), skip_special_tokens=False)

    @cached_property
    def _fast(self) -> tiktoken.Encoding | None:
        return fast_encoding(self.vocabulary)

    @cached_property
    def _bytes_V(self) -> list[bytes]:
        bytes_V = bytes_of_entries(self.vocabulary, self.vocab_size, is_byte_level=self.can_split)
        # GPT-2's vocabulary has a string for its <|endoftext|>.
        bytes_V[self.special.end_of_text] = b""
        return bytes_V

    def shown(self, tokens_T: Tokens) -> str:
        """Return the text of ids, with special tokens by their names."""
        names, parts = self.special.names(), []
        for is_special, group in groupby(tokens_T.tolist(), names.__contains__):
            run = list(group)
            parts += [names[token] for token in run] if is_special else [self.decode(np.array(run, np.int32))]
        return "".join(parts)

    def bytes_of(self, token: int) -> bytes:
        """Return the UTF-8 bytes of a token; none for a special token."""
        return self._bytes_V[token]

    @cached_property
    def can_split(self) -> bool:
        """Whether text can be split inside of tokens."""
        return can_split(self.vocabulary, self.kind)

    @cached_property
    def splitter(self) -> TextSplitter | None:
        """Splits text inside of tokens; None if this tokenizer cannot."""

        def encode(text: str) -> list[int]:
            return self.vocabulary.encode(text, add_special_tokens=False).ids

        return TextSplitter(encode, self._bytes_V) if self.can_split else None

    def to_hub(self, folder: Path, context_tokens: int) -> None:
        """Write a folder that `AutoTokenizer.from_pretrained` opens, with the same ids.

        `context_tokens`, the most that the model reads, becomes its `model_max_length`.
        There, special tokens have strings, so a text can spell them, as with the tokenizers of the hub.
        """
        content: dict[str, Any] = json.loads(self.json)
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        content["added_tokens"] += [
            {"id": token, "content": name, **flags} for token, name in sorted(self.special.names().items())
        ]
        # Added tokens keep their ids only if the vocabulary has them.
        content["model"]["vocab"] = _with_added(content["model"]["vocab"], content["added_tokens"])
        (folder / "tokenizer.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": self.special.names()[self.special.end_of_text],
            "clean_up_tokenization_spaces": False,
            "model_max_length": context_tokens,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def _with_added(vocabulary: Any, added: list[dict[str, Any]]) -> Any:
    """Add tokens to a model's vocabulary: ids by token or, for a Unigram, tokens and scores by id."""
    if isinstance(vocabulary, dict):
        return vocabulary | {token["content"]: token["id"] for token in added}
    # The score of unknown letters derives from the lowest one, which must therefore not change.
    lowest = min(score for _, score in vocabulary)
    entries = dict(enumerate(vocabulary)) | {token["id"]: [token["content"], lowest] for token in added}
    # Unused ids get characters of private use, which no text contains.
    return [entries.get(token, [f"\U0010fffd{token}", lowest]) for token in range(max(entries) + 1)]
