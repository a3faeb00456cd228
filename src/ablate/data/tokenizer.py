"""A byte-level BPE trained on the train split, with its special tokens kept out of reach of any text."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from ablate.config import TokenizerConfig
from ablate.objectives.example import SpecialTokens, Tokens


@dataclass(frozen=True)
class Tokenizer:
    """Text to ids and back.

    The special tokens hold the last ids of the vocabulary and no string: `<mask_1>` written in a source file is
    plain text.
    """

    bpe: tokenizers.Tokenizer
    special: SpecialTokens
    entries: int

    @classmethod
    def from_json(cls, json: str, config: TokenizerConfig) -> "Tokenizer":
        """The tokenizer of a stored `tokenizer.json`."""
        return cls(tokenizers.Tokenizer.from_str(json), special_tokens(config), config.entries)

    @classmethod
    def trained(cls, config: TokenizerConfig, texts: Iterable[str]) -> "Tokenizer":
        """Trains on the texts: GPT-2's byte-level pre-tokenizer, all 256 bytes in the alphabet."""
        bpe = tokenizers.Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=config.entries - _special_count(config),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        bpe.train_from_iterator(texts, trainer)
        return cls(bpe, special_tokens(config), config.entries)

    @property
    def json(self) -> str:
        """What `from_json` takes."""
        return self.bpe.to_str()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that turns text into ids."""
        return hashlib.sha256(f"{self.entries}\n{self.special}\n{self.json}".encode()).hexdigest()

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Ids of each text, without special tokens."""
        encodings = self.bpe.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, np.int32) for encoding in encodings]

    def decode(self, tokens_T: Tokens) -> str:
        """The text of ids that are all text."""
        return self.bpe.decode(tokens_T.tolist(), skip_special_tokens=False)


def _special_count(config: TokenizerConfig) -> int:
    return 3 + config.mask_sentinels


def special_tokens(config: TokenizerConfig) -> SpecialTokens:
    """The last ids of the vocabulary: `<|endoftext|> <sep> <eom> <mask_1> …`."""
    first = config.entries - _special_count(config)
    return SpecialTokens(first, first + 1, first + 2, tuple(range(first + 3, config.entries)))
