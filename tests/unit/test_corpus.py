import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

from ablate.config.parse import composed_from_container
from ablate.config.trial import TrialConfig
from ablate.data.corpus.corpus import Corpus, prepared_corpus
from ablate.data.corpus.document import SPLITS
from ablate.data.corpus.reading import read_part
from ablate.data.corpus.recipe import check_readers
from ablate.data.tokens.shards import open_shards, shard_folder
from ablate.errors import FailureError, UsageError
from tests.support.text import write_text
from tests.support.trials import MakeTrial, container_of

QUIET = Progress(disable=True)


def trial_on(sources: dict[str, Any], cache: Path, *overrides: str, **changes: Any) -> TrialConfig:
    container = container_of(*overrides)
    container["cache_dir"] = str(cache)
    shares = {"val_fraction": 0.2, "test_fraction": 0.2, "manifest_sha256": None}
    container["corpus"] = {"sources": sources, **shares, **changes}
    container["mixture"]["weights"] = dict.fromkeys(sources, 1.0)
    return composed_from_container(container).trial


Prepare = Callable[..., Corpus]


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    """A corpus of these sources, under overrides."""

    def prepared(sources: dict[str, Any], *overrides: str, again: bool = False, **changes: Any) -> Corpus:
        return prepared_corpus(trial_on(sources, tmp_path / "cache", *overrides, **changes), QUIET, again=again)

    return prepared


def files(path: Path) -> dict[str, Any]:
    return {"files": {"reader": "text_files", "path": str(path), "include": ["*.txt"], "exclude": []}}


def texts(corpus: Corpus, *splits: str) -> list[str]:
    sources = corpus.recipe.corpus.sources
    return [
        document.text
        for split in SPLITS
        if split in (splits or SPLITS)
        for source in sources
        for document in corpus.of(split, source)
    ]


def test_splits_share_no_text_and_a_repeated_text_is_kept_once(
    text: dict[str, Path], tmp_path: Path, prepare: Prepare
) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    for path in text["code"].iterdir():
        (copies / f"again {path.name}").write_text(path.read_text())
    (copies / "empty.txt").write_text("")
    write_text(copies / "new", 40, seed=9)
    corpus = prepare({"a": files(text["code"]), "b": files(copies) | {"more": files(text["english"])["files"]}})
    everything = texts(corpus)
    assert len(everything) == len(set(everything)) == 40 + 40 + 40
    assert corpus.statistics.documents["b", "Text", "duplicate"] == 40
    assert corpus.statistics.documents["b", "Text", "empty"] == 1
    assert not {path.read_text() for path in text["code"].iterdir()} & {
        document.text for split in SPLITS for document in corpus.of(split, "b")
    }


def test_a_document_s_split_does_not_depend_on_other_sources(text: dict[str, Path], prepare: Prepare) -> None:
    one = prepare({"code": files(text["code"])})
    both = prepare({"code": files(text["code"]), "english": files(text["english"])})
    for split in SPLITS:
        assert [document.text for document in one.of(split, "code")] == [
            document.text for document in both.of(split, "code")
        ]


def test_the_manifest_depends_on_the_text_and_not_on_its_path(
    text: dict[str, Path], tmp_path: Path, prepare: Prepare
) -> None:
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    for number, path in enumerate(sorted(text["code"].iterdir(), reverse=True)):
        (renamed / f"{number:03}.txt").write_text(path.read_text())
    original, renamed_corpus = prepare({"code": files(text["code"])}), prepare({"code": files(renamed)})
    assert original.manifest_sha256 == renamed_corpus.manifest_sha256
    for split in SPLITS:
        assert texts(original, split) == texts(renamed_corpus, split)


@pytest.mark.parametrize("bucket_bytes", [10_000, 100_000_000])
def test_parts_buckets_and_workers_do_not_change_the_shards(
    text: dict[str, Path], prepare: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket_bytes: int
) -> None:
    sources = {"code": files(text["code"]), "english": files(text["english"])}
    expected = open_shards(with_manifest(trial_on(sources, tmp_path / "cache")))
    monkeypatch.setattr("ablate.data.corpus.recipe._BUCKET_BYTES", bucket_bytes)
    monkeypatch.setattr("ablate.data.corpus.readers.paths.PART_BYTES", 6_000)
    # Below this no process is started.
    monkeypatch.setattr("ablate.data.corpus.preparation._ALONE_BYTES", 0)
    shards = open_shards(with_manifest(trial_on(sources, tmp_path / "other", "preparation.workers=2")))
    assert (len(list((shards.folder / "tokens").glob("*.code.bin"))) > 1) == (bucket_bytes == 10_000)
    assert shards.facts.fingerprint == expected.facts.fingerprint
    for split in ("validation", "test"):
        found, wanted = (
            [replace(document, part=0, number=0, bucket=0) for document in made.held_out(split, "code")]
            for made in (shards, expected)
        )
        assert found == wanted


def with_manifest(trial: TrialConfig) -> TrialConfig:
    manifest = prepared_corpus(trial, QUIET).manifest_sha256
    return replace(trial, corpus=replace(trial.corpus, manifest_sha256=manifest))


def test_a_changed_file_is_rejected_until_it_is_accepted(
    text: dict[str, Path], tmp_path: Path, prepare: Prepare
) -> None:
    folder = tmp_path / "notes"
    shutil.copytree(text["code"], folder)
    before = prepare({"code": files(folder)}).manifest_sha256
    (folder / "003.txt").write_text("another text")
    with pytest.raises(FailureError, match=r"(?s)notes/003\.txt: changed since the corpus was prepared.*data prepare"):
        prepare({"code": files(folder)})
    assert prepare({"code": files(folder)}, again=True).manifest_sha256 != before
    (folder / "new.txt").write_text("a new text")
    with pytest.raises(FailureError, match=r"notes/new\.txt: changed since"):
        prepare({"code": files(folder)})
    (folder / "new.txt").unlink()
    (folder / "004.txt").unlink()
    with pytest.raises(FailureError, match=r"notes/004\.txt: changed since"):
        prepare({"code": files(folder)})


def test_a_killed_preparation_resumes(text: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = {"code": files(text["code"]), "english": files(text["english"])}
    expected = prepared_corpus(trial_on(sources, tmp_path / "whole"), QUIET)
    monkeypatch.setattr("ablate.data.corpus.readers.paths.PART_BYTES", 5_000)
    trial = trial_on(sources, tmp_path / "cache")
    read: list[int] = []

    def read_some(work: Path, folder: Path, number: int, advance: Callable[[int], None]) -> None:
        read.append(number)
        if len(read) == 4:
            raise KeyboardInterrupt
        read_part(work, folder, number, advance)

    monkeypatch.setattr("ablate.data.corpus.corpus.read_part", read_some)
    with pytest.raises(KeyboardInterrupt):
        prepared_corpus(trial, QUIET)
    corpus = prepared_corpus(trial, QUIET)
    assert len(read) > 6
    # Once each, but for the one that was cut off.
    assert sorted(read) == sorted([*range(max(read) + 1), read[3]])
    assert (corpus.manifest_sha256, texts(corpus)) == (expected.manifest_sha256, texts(expected))
    assert [path.suffix for path in (tmp_path / "cache" / "corpora").iterdir()].count(".work") == 0


def test_text_that_differs_from_the_manifest_is_rejected(text: dict[str, Path], prepare: Prepare) -> None:
    with pytest.raises(
        FailureError, match=r"the corpus has the manifest [0-9a-f]{64}, but corpus\.manifest_sha256 is 0000"
    ):
        prepare({"code": files(text["code"])}, manifest_sha256="0" * 64)


def test_a_problem_fails_the_preparation_or_is_skipped_and_counted(
    text: dict[str, Path], tmp_path: Path, prepare: Prepare
) -> None:
    folder = tmp_path / "notes"
    shutil.copytree(text["code"], folder)
    (folder / "bad.txt").write_bytes(b"abc\xff")
    (folder / "image.txt").write_bytes(b"abc\x00def")
    (folder / "line.txt").write_text("x" * 5_000)
    for skip, message in (
        ("", r"bad\.txt: not UTF-8 \(byte 3 is 0xff\).*cleaning\.skip=\[not_utf8\]"),
        ("not_utf8", r"image\.txt: not text \(byte 3 is NUL\).*cleaning\.skip=\[not_utf8,binary\]"),
        ("not_utf8,binary", r"line\.txt: 5,000 bytes, more than cleaning\.max_bytes=4,000"),
    ):
        with pytest.raises(FailureError, match=message):
            prepare({"code": files(folder)}, f"cleaning.skip=[{skip}]", "cleaning.max_bytes=4000")
    corpus = prepare({"code": files(folder)}, "cleaning.skip=[not_utf8,binary,too_long]", "cleaning.max_bytes=4000")
    for kind in ("not_utf8", "binary", "too_long"):
        assert corpus.statistics.total(corpus.statistics.documents, "code", kind) == 1
    assert len(texts(corpus)) == 40


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no file in"),
        ("", r"corpus\.sources\.code: each split needs a document \(train 0, validation 0, test 0"),
    ],
)
def test_a_source_without_documents_is_rejected(
    tmp_path: Path, prepare: Prepare, content: str | None, message: str
) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    if content is not None:
        (folder / "empty.txt").write_text(content)
    with pytest.raises((FailureError, UsageError), match=message):
        prepare({"code": files(folder)})


def test_a_missing_path_is_rejected(tmp_path: Path, prepare: Prepare) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        prepare({"code": files(tmp_path / "nowhere")})


@pytest.mark.parametrize(
    ("package", "version", "message"),
    [
        ("no-such-package", "1.0", "no-such-package 1.0; here it is not installed"),
        ("sympy", "0.0.1", r"sympy 0\.0\.1; here it is 1\.14\.0"),
    ],
)
def test_a_missing_package_is_reported_with_the_install_command(
    prepare: Prepare, package: str, version: str, message: str
) -> None:
    named = {"package": package, "version": version, "pattern": "*.py", "language": "Python"}
    with pytest.raises(FailureError, match=message) as error:
        prepare({"code": {"x": {"reader": "package_files", **named}}})
    assert f"pip install '{package}=={version}'" in str(error.value)


def test_an_unknown_reader_and_unknown_parameters_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"corpus\.sources\.a\.x\.reader=web: no such reader"):
        check_readers(trial_on({"a": {"x": {"reader": "web"}}}, tmp_path).corpus)
    with pytest.raises(UsageError, match=r"corpus\.sources\.a\.files\.excluded: unknown key. Did you mean exclude\?"):
        check_readers(trial_on({"a": {"files": files(tmp_path)["files"] | {"excluded": []}}}, tmp_path).corpus)


LABELS = {"code": {"sympy", "networkx"}, "english": {"bible", "wikipedia"}}


@pytest.mark.parametrize("sources", [["english"], pytest.param(["code", "english"], marks=pytest.mark.slow)])
def test_the_wheels_corpus_has_the_text_of_its_manifest(sources: list[str], tmp_path: Path) -> None:
    """Real packages: at least 60 test documents of code and of English, in groups of their own, and no markup."""
    words = ("corpus=wheels", f"cache_dir='{tmp_path}'", f"preparation.workers={len(sources)}")
    trial = composed_from_container(container_of(*words)).trial
    assert trial.corpus.manifest_sha256 is not None
    assert trial.corpus.sources.keys() == LABELS.keys()
    if sources != list(LABELS):
        read = {name: trial.corpus.sources[name] for name in sources}
        trial = replace(trial, corpus=replace(trial.corpus, sources=read, manifest_sha256=None))
    corpus = prepared_corpus(trial, QUIET)
    documents = {(split, source): list(corpus.of(split, source)) for split in SPLITS for source in sources}
    for source in sources:
        assert len(documents["test", source]) >= 60
        assert len(documents["validation", source]) >= 50
        groups = [{document.group for document in documents[split, source]} - {""} for split in SPLITS]
        assert sum(map(len, groups)) == len(set.union(*groups)) > 60, "no package and no book is in two splits"
        for split in SPLITS:
            assert {document.label for document in documents[split, source]} == LABELS[source]
    train = documents["train", "english"]
    wikipedia = [document.text for document in train if document.name.startswith("wikipedia")]
    assert len(wikipedia) > 60
    assert not any("[[" in text or "'''" in text for text in wikipedia)
    english = {document.name: document.text for split in SPLITS for document in documents[split, "english"]}
    assert sum(name.startswith("bible") for name in english) == 1189
    assert english["bible/1/1"].startswith("In the beginning God created the heaven and the earth.")


def test_shards_are_cached_by_content_and_never_incomplete(make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = make_trial(cache_dir=str(tmp_path))
    shards = open_shards(trial)
    assert [path.name for path in (tmp_path / "shards").iterdir() if path.is_dir()] == [shard_folder(trial).name]
    written = (shards.folder / "shards.json").stat().st_mtime_ns
    assert open_shards(trial).facts.fingerprint == shards.facts.fingerprint
    assert (shards.folder / "shards.json").stat().st_mtime_ns == written
    assert shard_folder(make_trial("tokenizer.vocab_size=360", cache_dir=str(tmp_path))) != shards.folder


def test_a_cache_that_cannot_be_written_is_reported_with_its_path(make_trial: MakeTrial, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FailureError, match=r"file/corpora: cannot write the corpus cache .*cache_dir="):
        open_shards(make_trial(cache_dir=str(tmp_path / "file")))


def test_interrupted_tokens_of_other_ranges_are_not_reused(
    text: dict[str, Path], prepare: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest is the same, and so is the folder of the shards; the ranges of hashes are others."""
    sources = {"code": files(text["code"])}
    monkeypatch.setattr("ablate.data.corpus.recipe._BUCKET_BYTES", 3_000)
    many = prepare(sources)
    assert len(many.buckets) > 2
    trial = with_manifest(trial_on(sources, tmp_path / "cache"))
    whole = open_shards(trial).source("code").tokens

    def stopped(*arguments: object) -> None:
        raise KeyboardInterrupt

    shutil.rmtree(shard_folder(trial))
    with monkeypatch.context() as patch:
        patch.setattr("ablate.data.tokens.shards._assemble", stopped)
        with pytest.raises(KeyboardInterrupt):
            open_shards(trial)
    shutil.rmtree(many.folder)
    monkeypatch.setattr("ablate.data.corpus.recipe._BUCKET_BYTES", 100_000_000)
    assert len(prepare(sources).buckets) == 1
    assert open_shards(trial).source("code").tokens == whole


def test_text_of_another_cleaning_is_rejected_for_a_manifest(
    text: dict[str, Path], prepare: Prepare, tmp_path: Path
) -> None:
    sources = {"code": files(text["code"])}
    prepare(sources)
    trial = with_manifest(trial_on(sources, tmp_path / "cache"))
    open_shards(trial)
    other = replace(trial, cleaning=replace(trial.cleaning, min_bytes=300))
    assert shard_folder(other) == shard_folder(trial)
    with pytest.raises(FailureError, match="the corpus has the manifest"):
        open_shards(other)


def test_a_source_cannot_mix_text_and_tokens(text: dict[str, Path], tmp_path: Path) -> None:
    def shards(end: int | None) -> dict[str, Any]:
        return {"reader": "megatron", "path": str(tmp_path), "end_of_document": end}

    for readers in ({**files(text["code"]), "more": shards(0)}, {"one": shards(0), "two": shards(1)}):
        with pytest.raises(UsageError, match=r"corpus\.sources\.code: pre-tokenized shards need a source of their own"):
            check_readers(trial_on({"code": readers}, tmp_path).corpus)


@pytest.mark.parametrize("name", ["en.wiki", "a/b", ""])
def test_a_source_s_name_must_be_valid_in_file_names(name: str, text: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"corpus\.sources"):
        trial_on({name: files(text["code"])}, tmp_path)
