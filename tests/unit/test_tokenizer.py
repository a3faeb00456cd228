"""Every tokenizer: text comes back, nothing spells structure, and text is cut as it would be written anew."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer

from ablate.config.parse import composed_from_container
from ablate.data.tokens.shards import shard_folder
from ablate.data.tokens.text_splitter import TextSplitter
from ablate.data.tokens.tokenizer import Tokenizer, special_tokens
from ablate.data.tokens.vocabulary import (
    byte_letters,
    check_tokenizer,
    file_can_split,
    smallest_vocab_size,
    tokenizer_sha256,
)
from ablate.errors import FailureError, UsageError
from tests.support.tokenizers import SAMPLE, config_of
from tests.support.trials import container_of

STRUCTURE = "<|endoftext|> <mask_1><sep><eom> <pre>x<suf>y<mid> <mode_R> "
# More spaces than CodeGen has a token for.
RUN = " " * 32 + "x"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    """One of each kind; the file is a byte-level BPE with special tokens of its own."""
    of_kind = {kind: Tokenizer.of(config_of(kind), lambda: [SAMPLE]) for kind in ("bpe", "bytes", "gpt2", "codegen2")}
    path = tmp_path_factory.mktemp("a tokenizer") / "tokenizer.json"
    own = tokenizers.Tokenizer.from_str(of_kind["bpe"].json)
    own.add_special_tokens(["<sep>", "<s>"])
    own.post_processor = tokenizers.processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 325)])
    own.save(str(path))
    return {**of_kind, "file": Tokenizer.of(config_of("file", path=str(path)), list)}


KINDS = ["bpe", "bytes", "gpt2", "codegen2", "file"]
PIECES = st.sampled_from(
    [
        "a",
        "the",
        " word",
        "  ",
        " ",
        "\n",
        "\n\n    ",
        "\t\t",
        "é",
        "∑",
        "x1",
        "'s",
        "don't",
        "()",
        " =",
        STRUCTURE,
        RUN,
    ]
)
TEXTS = st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=14).map("".join))


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXTS)
def test_text_round_trips_without_special_tokens(made: dict[str, Tokenizer], kind: str, text: str) -> None:
    tokenizer = made[kind]
    [tokens] = tokenizer.encode([text])
    assert b"".join(tokenizer.bytes_of(int(token)) for token in tokens) == text.encode()
    assert tokenizer.decode(tokens) == text
    assert not set(tokenizer.special.names()) & set(tokens.tolist())


@pytest.mark.parametrize(
    ("kind", "piece"),
    [
        *(("bpe", "x"), ("gpt2", "\t a")),
        *(pytest.param("bpe", piece, marks=pytest.mark.slow) for piece in (" ", "\n", "\t a")),
        *(pytest.param("gpt2", piece, marks=pytest.mark.slow) for piece in ("x", " ", "\n")),
    ],
)
def test_a_very_long_run_round_trips(made: dict[str, Tokenizer], kind: str, piece: str) -> None:
    text = f"a{piece * 3_000_000}b"
    [tokens, short] = made[kind].encode([text, "short"])
    assert made[kind].decode(tokens) == text
    assert short.tolist() == made[kind].encode(["short"])[0].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_have_ids_of_their_own_and_no_text(made: dict[str, Tokenizer], kind: str) -> None:
    special = made[kind].special
    assert len(special.names()) == 9 + 8
    assert max(special.names()) < made[kind].vocab_size
    assert {made[kind].bytes_of(token) for token in special.names()} == {b""}


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXTS, data=st.data())
def test_split_tokens_equal_the_tokenizer_s_own_encoding(
    made: dict[str, Tokenizer], kind: str, text: str, data: st.DataObject
) -> None:
    tokenizer = made[kind]
    assert isinstance(tokenizer.splitter, TextSplitter)
    [tokens] = tokenizer.encode([text])
    assert tokenizer.splitter.characters(tokens) == len(text)
    offsets = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    parts = tokenizer.splitter.split(tokens, offsets)
    texts = [text[first:last] for first, last in pairwise([0, *offsets, len(text)])]
    for part, of_part in zip(parts, texts, strict=True):
        assert part.tolist() == tokenizer.encode([of_part])[0].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_a_split_inside_whitespace_equals_encoding_both_parts(made: dict[str, Tokenizer], kind: str) -> None:
    tokenizer = made[kind]
    assert tokenizer.splitter is not None
    text = f"one\n the{RUN}\t x\n\n  y"
    [tokens] = tokenizer.encode([text])
    for first in range(len(text) + 1):
        for last in range(first, min(first + 5, len(text) + 1)):
            parts = tokenizer.splitter.split(tokens, [first, last])
            anew = tokenizer.encode([text[:first], text[first:last], text[last:]])
            assert [part.tolist() for part in parts] == [part.tolist() for part in anew]


@pytest.mark.parametrize("kind", KINDS)
@given(texts=st.lists(TEXTS, min_size=2, max_size=3), data=st.data())
def test_special_tokens_inside_a_segment_are_kept_and_separate_its_text(
    made: dict[str, Tokenizer], kind: str, texts: list[str], data: st.DataObject
) -> None:
    """Infill of `scope: context` cuts windows that hold borders of documents."""
    tokenizer = made[kind]
    assert tokenizer.splitter is not None
    end = tokenizer.special.end_of_text
    border = np.array([end, end], np.int32)
    tokens = np.concatenate([part for found in tokenizer.encode(texts) for part in (border, found)])
    whole = "".join(texts)
    assert tokenizer.splitter.characters(tokens) == len(whole)
    offsets = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    parts = tokenizer.splitter.split(tokens, offsets)
    assert sum(int((part == end).sum()) for part in parts) == 2 * len(texts)
    for part, (first, last) in zip(parts, pairwise([0, *offsets, len(whole)]), strict=True):
        between = np.split(part, np.flatnonzero(part == end))
        written = [tokenizer.decode(one[one != end]) for one in between]
        assert "".join(written) == whole[first:last]
        assert [one[one != end].tolist() for one in between] == [found.tolist() for found in tokenizer.encode(written)]
    begun = np.cumsum([0, *map(len, texts)])[:-1]
    after = [place for place in range(1, len(whole)) if whole[place - 1] == "\n"]
    wanted = sorted({*after, *begun.tolist()} - {len(whole)})
    assert tokenizer.splitter.lines(tokens).tolist() == wanted


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXTS)
def test_lines_begin_after_newlines(made: dict[str, Tokenizer], kind: str, text: str) -> None:
    tokenizer = made[kind]
    assert tokenizer.splitter is not None
    wanted = [place for place in range(len(text)) if place == 0 or text[place - 1] == "\n"]
    assert tokenizer.splitter.lines(tokenizer.encode([text])[0]).tolist() == wanted


@pytest.mark.parametrize("kind", ["bpe", "bytes", "gpt2"])
@given(text=st.text("é∑a ", min_size=3, max_size=12), data=st.data())
def test_a_segment_that_begins_inside_a_character_keeps_every_byte(
    made: dict[str, Tokenizer], kind: str, text: str, data: st.DataObject
) -> None:
    """Windows are cut between tokens, and a character may have several."""
    tokenizer = made[kind]
    assert tokenizer.splitter is not None
    [tokens] = tokenizer.encode([text])
    first = data.draw(st.integers(0, len(tokens) - 1))
    last = data.draw(st.integers(first, len(tokens)))
    piece = tokens[first:last]
    characters = tokenizer.splitter.characters(piece)
    offsets = sorted(data.draw(st.lists(st.integers(0, characters), min_size=2, max_size=2)))
    written = [
        b"".join(tokenizer.bytes_of(int(token)) for token in part) for part in tokenizer.splitter.split(piece, offsets)
    ]
    assert b"".join(written) == b"".join(tokenizer.bytes_of(int(token)) for token in piece)


def test_incomplete_characters_at_the_ends_of_a_segment_are_kept(made: dict[str, Tokenizer]) -> None:
    """🙂 has two tokens of two bytes in GPT-2."""
    tokenizer = made["gpt2"]
    assert tokenizer.splitter is not None
    smile, word = tokenizer.encode(["🙂", "abc"])
    assert [len(tokenizer.bytes_of(int(token))) for token in smile] == [2, 2]
    first, last = tokenizer.splitter.split(np.concatenate([smile[1:], word, smile[:1]]), [2])
    assert (first[0], last[-1]) == (smile[1], smile[0])
    assert [tokenizer.decode(first[1:]), tokenizer.decode(last[:-1])] == ["ab", "c"]


def test_codegen2_has_the_ids_of_the_release(made: dict[str, Tokenizer]) -> None:
    tokenizer = made["codegen2"]
    assert tokenizer.special.end_of_text == 50256
    assert (tokenizer.special.separator, tokenizer.special.end_of_mask) == (50299, 50300)
    assert tokenizer.special.masks[:3] == (51199, 51198, 51197)
    assert tokenizer.encode(["  ", " " * 31, "\t\t", "\t" * 9, "Hello world", "Hello  world"]) == [
        pytest.approx(ids) for ids in ([50286], [50257], [50294], [50287], [15496, 995], [15496, 50286, 6894])
    ]
    every = special_tokens(config_of("codegen2", mask_sentinels=893))
    assert len(every.names()) == 9 + 893


def test_gpt2_is_gpt2(made: dict[str, Tokenizer]) -> None:
    assert made["gpt2"].encode(["Hello world", " the"]) == [pytest.approx([15496, 995]), pytest.approx([262])]
    assert made["gpt2"].special.end_of_text == 50256
    assert made["bytes"].encode(["é"])[0].tolist() == [0xC3, 0xA9]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stored_tokenizer_is_the_same(made: dict[str, Tokenizer], kind: str) -> None:
    path = "x" if kind == "file" else None
    again = Tokenizer.from_json(made[kind].json, config_of(kind, path=path))
    assert again.fingerprint == made[kind].fingerprint
    assert again.encode([STRUCTURE])[0].tolist() == made[kind].encode([STRUCTURE])[0].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_the_hub_s_loader_opens_it(made: dict[str, Tokenizer], kind: str, tmp_path: Path) -> None:
    made[kind].to_hub(tmp_path, 48)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    text = SAMPLE + "  two\n\n   three\t\t"
    assert opened(text)["input_ids"] == made[kind].encode([text])[0].tolist()
    assert opened.decode(opened(text)["input_ids"]) == text
    for token, name in made[kind].special.names().items():
        assert opened.convert_tokens_to_ids(name) == token
        assert opened.decode([token]) == name
    assert opened.eos_token_id == made[kind].special.end_of_text


def test_a_tokenizer_that_cannot_split_raises(tmp_path: Path) -> None:
    words = tokenizers.Tokenizer(models.WordLevel({"a": 0, "b": 1, "[UNK]": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.of(config_of("file", path=str(tmp_path), vocab_size=64), list)
    assert tokenizer.splitter is None
    assert tokenizer.encode(["a b"])[0].tolist() == [0, 1]
    assert tokenizer.bytes_of(1) == b"b"


def test_the_hub_s_loader_opens_a_unigram(tmp_path: Path) -> None:
    pieces = [("<unk>", 0.0), ("▁", -2.0), ("▁a", -1.0), ("b", -2.0), ("c", -2.1)]
    own = tokenizers.Tokenizer(models.Unigram(pieces, 0, byte_fallback=False))
    own.pre_tokenizer, own.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    own.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.of(config_of("file", path=str(tmp_path), vocab_size=64), list)
    assert tokenizer.splitter is None
    (tmp_path / "out").mkdir()
    tokenizer.to_hub(tmp_path / "out", 48)
    opened = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert opened("a bc")["input_ids"] == tokenizer.encode(["a bc"])[0].tolist() == [2, 1, 3, 4]
    for token, name in tokenizer.special.names().items():
        assert (opened.convert_tokens_to_ids(name), opened.decode([token])) == (token, name)


def test_a_file_s_dropout_is_ignored(tmp_path: Path) -> None:
    """One text has one sequence of ids."""
    own = tokenizers.Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")], dropout=0.9))
    own.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.of(config_of("file", path=str(tmp_path)), list)
    assert tokenizer.encode(["ab"] * 50) == [pytest.approx([2])] * 50
    assert json.loads(tokenizer.json)["model"]["dropout"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"model": models.BPE({letter: byte for byte, letter in enumerate(byte_letters())}, [], end_of_word_suffix="b")},
        {"normalizer": normalizers.Lowercase()},
        {"pre_tokenizer": pre_tokenizers.ByteLevel(add_prefix_space=True)},
        {"pre_tokenizer": pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)},
    ],
)
def test_only_tokenizers_that_are_known_to_split_have_a_splitter(
    made: dict[str, Tokenizer], tmp_path: Path, change: Any
) -> None:
    own = tokenizers.Tokenizer.from_str(made["bpe"].json)
    for part, value in change.items():
        setattr(own, part, value)
    own.save(str(tmp_path / "tokenizer.json"))
    config = config_of("file", path=str(tmp_path))
    assert Tokenizer.of(config, list).splitter is None
    assert not file_can_split(config)


def test_gaps_between_a_file_s_ids_count(tmp_path: Path) -> None:
    """Else text could yield an id that stands for structure."""
    words = tokenizers.Tokenizer(models.WordLevel({"a": 0, "b": 100, "[UNK]": 2}, unk_token="[UNK]"))
    words.save(str(tmp_path / "tokenizer.json"))
    assert smallest_vocab_size(config_of("file", path=str(tmp_path))) == 101 + 9 + 8
    check_tokenizer(config_of("file", path=str(tmp_path), vocab_size=118))
    with pytest.raises(UsageError, match=r"the 101 entries of .* and 17 special tokens need at least 118"):
        check_tokenizer(config_of("file", path=str(tmp_path), vocab_size=117))


def test_shards_identify_a_tokenizer_file_by_its_hash() -> None:
    trial = composed_from_container(
        container_of("tokenizer=file", "tokenizer.path=a", "tokenizer.vocab_size=600")
    ).trial
    trial = replace(trial, corpus=replace(trial.corpus, manifest_sha256="0" * 64))

    def folder(path: str, sha256: str) -> Path:
        return shard_folder(replace(trial, tokenizer=replace(trial.tokenizer, path=path, sha256=sha256)))

    assert folder("a", "1" * 64) == folder("b", "1" * 64) != folder("a", "2" * 64)


def test_files_are_checked(made: dict[str, Tokenizer], tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(UsageError, match=r"tokenizer\.path=.*cannot be read \(No such file"):
        tokenizer_sha256(config_of("file", path=str(path)))
    path.write_text("{}")
    with pytest.raises(UsageError, match=r"not a tokenizer\.json"):
        check_tokenizer(config_of("file", path=str(path)))
    path.write_text(made["bpe"].json)
    digest = tokenizer_sha256(config_of("file", path=str(path)))
    small = config_of("file", path=str(path), vocab_size=300)
    with pytest.raises(
        UsageError, match=r"tokenizer\.vocab_size=300: the \d+ entries .* need at least \d+\. Give e\.g\."
    ):
        check_tokenizer(small)
    path.write_text(json.dumps(json.loads(made["bpe"].json) | {"version": "1.0 "}))
    with pytest.raises(FailureError, match="changed since the trial was frozen"):
        Tokenizer.of(config_of("file", path=str(path), sha256=digest), list)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["tokenizer=bytes", "tokenizer.vocab_size=300"], "256 entries of text .bytes., 9 special tokens and"),
        (["tokenizer=gpt2", "tokenizer.vocab_size=50257"], "take at least 50329"),
        (["tokenizer=codegen2", "tokenizer.mask_sentinels=900"], "leave room for at most 893 masks"),
        (["tokenizer=codegen2", "tokenizer.vocab_size=51199"], "at least 51200 entries"),
        (["tokenizer=gpt2", "tokenizer.path=x"], "tokenizer.path=.x.: belongs to tokenizer=file"),
        (
            ["tokenizer=file", "tokenizer.vocab_size=600", "tokenizer.path=null"],
            r"belongs to tokenizer=file\|hub, which need it",
        ),
        (["tokenizer=gpt2", f"tokenizer.sha256={'a' * 64}"], "tokenizer.sha256=a+: belongs to tokenizer=file"),
    ],
)
def test_vocabularies_that_do_not_fit_are_rejected(overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        composed_from_container(container_of(*overrides))


def test_byte_letters_are_those_of_the_library() -> None:
    assert sorted(byte_letters()) == sorted(pre_tokenizers.ByteLevel.alphabet())
    encoded = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str("é\n")
    assert encoded[0][0] == "".join(byte_letters()[byte] for byte in "é\n".encode())
    assert np.unique(byte_letters()).size == 256
