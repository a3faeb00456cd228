"""Byte-level BPE through tiktoken: the ids of `tokenizers` in a fraction of the time."""

import json
import re
from itertools import pairwise

import tiktoken
import tokenizers

from ablate.data.tokens.vocabulary import byte_letters, is_gpt2_like

# GPT-2's, as the byte-level pre-tokenizer of `tokenizers` has it; possessive, so that nothing is tried twice.
_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"

# tiktoken's regular expressions run out of stack on millions of spaces; a hundred thousand are none of their worries.
_LONG_RUN_CHARACTERS = 10_000
_long_run = re.compile(rf"(?<!\s)\s{{{_LONG_RUN_CHARACTERS}}}").search


def is_too_much(text: str) -> bool:
    """Whether tiktoken could fail on a text, which `tokenizers` is then asked for."""
    return len(text) >= _LONG_RUN_CHARACTERS and _long_run(text) is not None


def fast_encoding(vocabulary: tokenizers.Tokenizer) -> tiktoken.Encoding | None:
    """What gives the same ids as this vocabulary; None where that is not certain.

    tiktoken merges those neighbours whose text is the entry with the lowest id, `tokenizers` those that come first in
    its list of pairs. They agree where ids rise along the list and each entry's text alone becomes that entry: then
    neighbours whose text is an entry are the very pair that the list makes it from.
    """
    content = json.loads(vocabulary.to_str())
    model = content["model"]
    added = vocabulary.get_added_tokens_decoder().values()
    if any(not (token.special and vocabulary.encode_special_tokens) for token in added):
        return None
    if model.get("ignore_merges") or not is_gpt2_like(content):
        return None
    of_letter = {letter: byte for byte, letter in enumerate(byte_letters())}
    made = [left + right for left, right in model["merges"]]
    ids = [model["vocab"][text] for text in made]
    if any(one >= other for one, other in pairwise(ids)):
        return None
    if any(len(vocabulary.model.tokenize(text)) > 1 for text in made):
        return None
    ranks = {bytes(map(of_letter.__getitem__, text)): model["vocab"][text] for text in [*of_letter, *made]}
    return tiktoken.Encoding("ablate", pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens={})
