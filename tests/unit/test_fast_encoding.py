"""tiktoken gives the ids of `tokenizers`, or is not asked."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
import tiktoken
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers, trainers

from ablate.data.tokens.fast_encoding import fast_encoding
from ablate.data.tokens.vocabulary import WHITESPACE_RUNS, build
from tests.support.tokenizers import SAMPLE, config_of

LETTERS = "ab \nx'é1."


def trained(entries: int, seed: int) -> tokenizers.Tokenizer:
    """A vocabulary of random words of few letters, where merges overlap as often as they can."""
    rng = random.Random(seed)
    words = ["".join(rng.choices(LETTERS, k=rng.randint(1, 12))) for _ in range(600)]
    found = tokenizers.Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    found.train_from_iterator(
        words, trainers.BpeTrainer(vocab_size=entries, initial_alphabet=alphabet, show_progress=False)
    )
    return found


VOCABULARIES: dict[str, Callable[[], tokenizers.Tokenizer]] = {
    "gpt2": lambda: build(config_of("gpt2"), list),
    "trained": lambda: build(config_of("bpe"), lambda: [SAMPLE]),
    "of few letters": lambda: trained(700, 1),
}


@pytest.fixture(scope="module", params=VOCABULARIES)
def both(request: pytest.FixtureRequest) -> tuple[tokenizers.Tokenizer, tiktoken.Encoding]:
    vocabulary = VOCABULARIES[request.param]()
    fast = fast_encoding(vocabulary)
    assert fast is not None
    return vocabulary, fast


@given(text=st.one_of(st.text(max_size=60), st.text(LETTERS, max_size=60)))
def test_ids_are_the_same(both: tuple[tokenizers.Tokenizer, tiktoken.Encoding], text: str) -> None:
    vocabulary, fast = both
    assert fast.encode_ordinary(text) == vocabulary.encode(text, add_special_tokens=False).ids


def test_every_kind_of_character_is_split_at_alike() -> None:
    """One of sixteen code points beside a letter, a digit, a space and a full stop; all of them were tried once."""
    gpt2 = VOCABULARIES["gpt2"]()
    fast = fast_encoding(gpt2)
    assert fast is not None
    letters = [chr(point) for point in range(3, 0x110000, 16) if not 0xD800 <= point < 0xE000]
    for first in range(0, len(letters), 512):
        text = "".join(f"a{letter}1{letter} {letter}.{letter}{letter}" for letter in letters[first : first + 512])
        assert fast.encode_ordinary(text) == gpt2.encode(text, add_special_tokens=False).ids


def changed(change: Callable[[dict[str, Any]], None]) -> tokenizers.Tokenizer:
    content = json.loads(trained(300, 2).to_str())
    change(content)
    return tokenizers.Tokenizer.from_str(json.dumps(content))


def swap_ids(content: dict[str, Any]) -> None:
    """Ids no more in the order of the merges."""
    first, last = ("".join(content["model"]["merges"][number]) for number in (0, -1))
    ids = content["model"]["vocab"]
    ids[first], ids[last] = ids[last], ids[first]


def merge_late(content: dict[str, Any]) -> None:
    """An entry that its own text does not become: its parts were merged otherwise before."""
    content["model"]["merges"] = [["a", "b"], ["b", "a"], ["a", "ba"]]
    entries = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "ab", "ba", "aba"]
    content["model"]["vocab"] = {text: number for number, text in enumerate(entries)}


def split_otherwise(content: dict[str, Any]) -> None:
    content["pre_tokenizer"]["use_regex"] = False


def look_words_up(content: dict[str, Any]) -> None:
    content["model"]["ignore_merges"] = True


@pytest.mark.parametrize("change", [swap_ids, split_otherwise, look_words_up])
def test_what_tiktoken_would_do_otherwise_it_is_not_asked_for(change: Callable[[dict[str, Any]], None]) -> None:
    assert fast_encoding(changed(lambda content: None)) is not None
    assert fast_encoding(changed(change)) is None


def test_an_entry_that_its_own_text_does_not_become_is_not_asked_for() -> None:
    vocabulary = changed(merge_late)
    assert vocabulary.encode("aba").tokens == ["ab", "a"]
    assert fast_encoding(vocabulary) is None


def test_added_tokens_are_not_asked_for() -> None:
    codegen = VOCABULARIES["gpt2"]()
    codegen.add_tokens([tokenizers.AddedToken(run, normalized=False) for run in WHITESPACE_RUNS])
    assert fast_encoding(codegen) is None
    special = VOCABULARIES["trained"]()
    special.add_special_tokens(["<sep>"])
    assert fast_encoding(special) is None, "it would be found in text"
    special.encode_special_tokens = True
    assert fast_encoding(special) is not None
