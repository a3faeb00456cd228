"""Overlap of held-out text with the training text, and splits by package or work."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ablate.config.parse import composed_from_container
from ablate.data.corpus.document import Document
from ablate.data.corpus.overlap import SeenText, extents, grams, isin_sorted
from ablate.data.tokens.shards import Shards, open_shards
from ablate.errors import FailureError, UsageError
from ablate.evaluation.held_out import HeldOut
from ablate.evaluation.overlap import rows_with_clean
from ablate.evaluation.passages import passages
from ablate.evaluation.suite import Row
from ablate.grid.resolve import Resolver
from tests.support.trials import MakeTrial, small_container

WORDS = [f"word{number}" for number in range(60)]


def seen_text(text: str, bits: list[bool]) -> SeenText:
    document = Document("0" * 64, 0, 0, 0, "test", "s", "", "", "", "name", text, seen=np.packbits(bits).tobytes())
    found = SeenText.of(document)
    assert found is not None
    return found


def test_grams_are_equal_where_their_13_words_are() -> None:
    whole, part = grams(" ".join(WORDS)), grams("(" + ", ".join(WORDS[7:27]).upper() + ")")
    assert len(whole) == 60 - 12
    assert part.tolist() == whole[7 : 7 + 8].tolist()
    assert len(np.unique(whole)) == len(whole)
    assert not isin_sorted(grams(" ".join(WORDS[::-1])), np.sort(whole)).any()
    assert len(grams("too short")) == len(extents("too short")) == 0


def test_extents_are_the_characters_of_a_gram() -> None:
    text = "  é " + " + ".join(WORDS[:14])
    first, second, third = (text[start:end] for start, end in extents(text))
    assert first == "é " + " + ".join(WORDS[:12])
    assert (second, third) == (" + ".join(WORDS[:13]), " + ".join(WORDS[1:14]))


def test_overlap_counts_the_grams_inside_a_passage() -> None:
    text = " ".join(WORDS[:16])
    seen = seen_text(text, [True, False, True, True])
    assert seen.within(0, len(text)) == (3, 4)
    assert seen.within(1, len(text)) == (2, 3)
    assert seen.within(0, len(text) - 1) == (2, 3)
    assert seen.within(0, 20) == (0, 0)


@pytest.mark.parametrize(
    ("overlap", "is_clean"), [((0, 0), True), ((0, 9), True), ((9, 100), True), ((10, 100), False)]
)
def test_a_clean_row_shares_less_than_a_tenth_with_the_training_text(overlap: tuple[int, int], is_clean: bool) -> None:
    row = Row("bpb_full", "code", "a", 3.0, 2.0)
    names = [found.metric for found in rows_with_clean(row, overlap)]
    assert names == (["bpb_full", "bpb_full_clean"] if is_clean else ["bpb_full"])
    assert [found.metric for found in rows_with_clean(row, None)] == ["bpb_full"], "not measured"


def test_shards_mark_grams_that_also_occur_in_train_documents(make_trial: MakeTrial, shards: Shards) -> None:
    train = shards.source("code")
    texts = [
        shards.tokenizer.decode(train.read(train.start(number), train.start(number + 1))[1:-1])
        for number in range(train.documents)
    ]
    known = np.sort(np.concatenate([grams(text) for text in texts]))
    for document in shards.held_out("test", "code"):
        seen = SeenText.of(document)
        assert seen is not None
        assert seen.is_seen_G.tolist() == isin_sorted(grams(document.text), known).tolist()


@pytest.fixture
def packages(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Shards]:
    """A function from readers' parameters to the shards of 30 packages of 4 files, two of them tests."""
    rng = np.random.default_rng(0)
    for package in range(30):
        for name in ("a.txt", "b.txt", "tests/c.txt", "tests/d.txt"):
            path = tmp_path / "text" / f"package{package}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(" ".join(rng.choice(WORDS, 60)))

    def made(**parameters: object) -> Shards:
        container = small_container({"code": tmp_path / "text"}, tmp_path / "cache", "mixture=code")
        container["corpus"]["sources"]["code"]["files"] |= parameters
        trial = composed_from_container(container).trial
        return open_shards(Resolver(tmp_path, lambda message: None)(trial))

    return made


def test_a_package_is_in_one_split_with_its_tests(packages: Callable[..., Shards]) -> None:
    def packages_of(shards: Shards) -> list[set[str]]:
        return [
            {next(part for part in Path(document.name).parts if part.startswith("package")) for document in documents}
            for documents in (list(shards.held_out(split, "code")) for split in ("validation", "test"))
        ]

    by_package, by_file = packages(group_folders=1), packages()
    validation, test = packages_of(by_package)
    assert not validation & test
    documents = [document for split in ("validation", "test") for document in by_package.held_out(split, "code")]
    assert len(documents) == 4 * len(validation | test)
    assert {document.group for document in documents} == validation | test
    assert by_package.source("code").documents == 4 * (30 - len(validation | test))
    assert by_package.folder != by_file.folder, "the split is part of what identifies a corpus"
    assert set.intersection(*packages_of(by_file))


def test_too_few_packages_for_a_split_are_named(packages: Callable[..., Shards], tmp_path: Path) -> None:
    for folder in (tmp_path / "text").iterdir():
        if folder.name not in ("package0", "package1"):
            folder.rename(tmp_path / folder.name)
    with pytest.raises(FailureError) as error:
        packages(group_folders=1)
    assert "corpus.sources.code: too small for a split by package or work: its 2 groups" in str(error.value)
    assert "group_folders: 0" in str(error.value)


def test_passages_lie_everywhere_in_their_documents_and_do_not_overlap(make_trial: MakeTrial, shards: Shards) -> None:
    held_out = HeldOut(make_trial(), shards, "test")
    chosen = passages(held_out, passage_bytes=80, passages_per_source=24)
    assert [passage.source for passage in chosen] == ["code"] * 24 + ["english"] * 24
    texts = {document.name: document.text for document in shards.held_out("test", "code")}
    starts: dict[str, list[int]] = {}
    for passage in chosen[:24]:
        text = shards.tokenizer.decode(passage.first_T) + shards.tokenizer.decode(passage.second_T)
        starts.setdefault(passage.document, []).append(texts[passage.document].index(text))
    assert len(starts) == len(texts), "one of each document before a second one"
    assert any(len(of_document) > 1 for of_document in starts.values())
    for of_document in starts.values():
        assert all(after - before >= 80 for before, after in pairwise(sorted(of_document)))
    assert sum(start > 0 for of_document in starts.values() for start in of_document) > 12
    again = passages(HeldOut(make_trial("seed=3"), shards, "test"), passage_bytes=80, passages_per_source=8)
    assert [passage.first_T.tolist() for passage in again[:8]] == [passage.first_T.tolist() for passage in chosen[:8]]


def test_passages_longer_than_all_documents_are_named(make_trial: MakeTrial, shards: Shards) -> None:
    with pytest.raises(
        UsageError, match=r"passage_bytes=1000000: longer than every document of code on the test split"
    ):
        passages(HeldOut(make_trial(), shards, "test"), passage_bytes=1_000_000, passages_per_source=4)


def test_readers_of_a_source_are_scored_apart(make_trial: MakeTrial, shards: Shards) -> None:
    trial = make_trial()
    [files] = trial.corpus.sources["code"].values()
    corpus = replace(trial.corpus, sources={**trial.corpus.sources, "code": {"a": files, "b": files}})
    assert corpus.scored_sources == ("code.a", "code.b", "english")
    assert corpus.metric_sources == ("code", "english", "code.a", "code.b")
