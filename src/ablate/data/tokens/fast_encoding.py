"""Byte-level BPE with tiktoken: the same ids as `tokenizers`, several times faster."""

import json
import re
from itertools import pairwise

import tiktoken
import tokenizers

from ablate.data.tokens.vocabulary import byte_letters, is_gpt2_like

# GPT-2's, as the byte-level pre-tokenizer of `tokenizers` has it; possessive, to avoid backtracking.
_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"

# tiktoken's regular expressions run out of stack on millions of spaces; 100 000 are safe.
_LONG_RUN_CHARACTERS = 10_000
_long_run = re.compile(rf"(?<!\s)\s{{{_LONG_RUN_CHARACTERS}}}").search


def is_too_long(text: str) -> bool:
    """Return whether a text has a run of whitespace on which tiktoken might fail."""
    return len(text) >= _LONG_RUN_CHARACTERS and _long_run(text) is not None


def fast_encoding(vocabulary: tokenizers.Tokenizer) -> tiktoken.Encoding | None:
    """Return an encoding that is certain to give the same ids as this vocabulary, or None.

    tiktoken merges the neighbours whose joined text has the lowest id; `tokenizers` those that come first in its list
    of merges. They agree if ids ascend along the list and each entry's text alone is encoded as that entry: then
    neighbours whose joined text is an entry are always the pair that the list makes it from.
    """
    content = json.loads(vocabulary.to_str())
    model = content["model"]
    added = vocabulary.get_added_tokens_decoder().values()
    if any(not (token.special and vocabulary.encode_special_tokens) for token in added):
        return None
    if model.get("ignore_merges") or not is_gpt2_like(content):
        return None
    byte_of_letter = {letter: byte for byte, letter in enumerate(byte_letters())}
    merged = [left + right for left, right in model["merges"]]
    ids = [model["vocab"][text] for text in merged]
    if any(before >= after for before, after in pairwise(ids)):
        return None
    if any(len(vocabulary.model.tokenize(text)) > 1 for text in merged):
        return None
    ranks = {bytes(map(byte_of_letter.__getitem__, text)): model["vocab"][text] for text in [*byte_of_letter, *merged]}
    return tiktoken.Encoding("ablate", pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens={})
