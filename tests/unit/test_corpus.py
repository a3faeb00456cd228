import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from ablate.config import CorpusConfig
from ablate.data.corpus import SPLITS, check_readers, read_corpus
from ablate.data.shards import open_shards, shard_folder
from ablate.errors import FailureError, UsageError
from ablate.grid.expand import default_container
from tests.conftest import MakeTrial, write_text


def corpus(sources: dict[str, Any], **changes: Any) -> CorpusConfig:
    container = {"sources": sources, "tune_share": 0.2, "test_share": 0.2, "manifest_sha256": None, **changes}
    return TypeAdapter(CorpusConfig).validate_json(json.dumps(container))


def files(path: Path, pattern: str = "*.txt") -> dict[str, Any]:
    return {"files": {"reader": "text_files", "path": str(path), "pattern": pattern}}


def test_splits_share_no_text_and_a_repeated_text_is_kept_once(text: dict[str, Path], tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    for path in text["code"].iterdir():
        (copies / f"again {path.name}").write_text(path.read_text())
    (copies / "empty.txt").write_text("")
    write_text(copies / "new", 40, seed=9)
    found = read_corpus(
        corpus({"a": files(text["code"]), "b": files(copies) | {"more": files(text["english"])["files"]}})
    )
    everything = [document for split in SPLITS for document in found.documents[split]]
    assert len({document.sha256 for document in everything}) == len(everything) == 40 + 40 + 40
    assert not any(Path(document.name).name.startswith("again") for document in everything)


def test_a_document_stays_in_its_split_whatever_else_is_there(text: dict[str, Path]) -> None:
    one = read_corpus(corpus({"code": files(text["code"])}))
    both = read_corpus(corpus({"code": files(text["code"]), "english": files(text["english"])}))
    for split in SPLITS:
        assert one.of(split, "code") == both.of(split, "code")


def test_manifest_is_of_the_text_and_not_of_its_place(text: dict[str, Path], tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in text["code"].iterdir():
        (moved / f"x{path.name}").write_text(path.read_text())
    here, there = read_corpus(corpus({"code": files(text["code"])})), read_corpus(corpus({"code": files(moved)}))
    assert here.manifest_sha256 == there.manifest_sha256
    (moved / "x000.txt").write_text("changed")
    assert read_corpus(corpus({"code": files(moved)})).manifest_sha256 != here.manifest_sha256


def test_names_of_files_decide_nothing(text: dict[str, Path], tmp_path: Path) -> None:
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    for number, path in enumerate(sorted(text["code"].iterdir(), reverse=True)):
        (renamed / f"{number:03}.txt").write_text(path.read_text())
    here, there = read_corpus(corpus({"code": files(text["code"])})), read_corpus(corpus({"code": files(renamed)}))
    assert here.manifest_sha256 == there.manifest_sha256
    for split in SPLITS:
        assert [one.text for one in here.of(split, "code")] == [one.text for one in there.of(split, "code")]


def test_another_text_than_the_named_one_is_refused(text: dict[str, Path]) -> None:
    with pytest.raises(FailureError, match=r"not the one its config names: manifest [0-9a-f]{64}, expected 0000"):
        read_corpus(corpus({"code": files(text["code"])}, manifest_sha256="0" * 64))


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"abc\xff")
    with pytest.raises(FailureError, match=r"bad\.txt: not UTF-8 \(byte 3 is 0xff\)"):
        read_corpus(corpus({"code": files(tmp_path)}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"no file below .* matches '\*\.txt'"),
        ("", r"corpus\.sources\.code: each split needs a document \(train 0, tune 0, test 0"),
    ],
)
def test_nothing_to_read_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "empty.txt").write_text(content)
    with pytest.raises((FailureError, UsageError), match=message):
        read_corpus(corpus({"code": files(tmp_path)}))


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read_corpus(corpus({"code": files(tmp_path / "nowhere")}))


@pytest.mark.parametrize(
    ("package", "version", "message"),
    [
        ("no-such-package", "1.0", "no-such-package 1.0; here it is not installed"),
        ("sympy", "0.0.1", r"sympy 0\.0\.1; here it is 1\.14\.0"),
    ],
)
def test_a_missing_package_says_what_to_install(package: str, version: str, message: str) -> None:
    reader = {"reader": "package_files", "package": package, "version": version, "pattern": "*.py"}
    with pytest.raises(FailureError, match=message) as found:
        read_corpus(corpus({"code": {"x": reader}}))
    assert f"pip install '{package}=={version}'" in str(found.value)


def test_an_unknown_reader_and_its_parameters_are_refused() -> None:
    with pytest.raises(UsageError, match=r"corpus\.sources\.a\.x\.reader=web: no such reader"):
        check_readers(corpus({"a": {"x": {"reader": "web"}}}))
    with pytest.raises(UsageError, match=r"corpus\.sources\.a\.x\.patern: unknown key. Did you mean pattern\?"):
        check_readers(corpus({"a": {"x": {"reader": "text_files", "path": "/", "pattern": "*", "patern": "*"}}}))


def test_wheels_are_the_text_that_their_manifest_names() -> None:
    """Real packages: at least 100 test documents of code and of English, and no trace of markup."""
    config = TypeAdapter(CorpusConfig).validate_json(json.dumps(default_container("corpus=wheels")["corpus"]))
    assert config.manifest_sha256 is not None
    found = read_corpus(config)
    for source in ("code", "english"):
        assert len(found.of("test", source)) >= 100
        assert len(found.of("tune", source)) >= 50
    wikipedia = [document.text for document in found.documents["train"] if document.name.startswith("wikipedia")]
    assert len(wikipedia) > 60
    assert not any("[[" in text or "'''" in text for text in wikipedia)
    bible = [document for split in SPLITS for document in found.documents[split] if document.name.startswith("bible")]
    assert len(bible) == 1189
    genesis = next(document for document in bible if document.name == "bible/1/1")
    assert genesis.text.startswith("In the beginning God created the heaven and the earth.")


def test_shards_are_cached_by_content_and_never_half(
    make_trial: MakeTrial, text: dict[str, Path], tmp_path: Path
) -> None:
    trial = make_trial(cache_dir=str(tmp_path))
    shards = open_shards(trial)
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == [shard_folder(trial).name]
    written = (shards.folder / "shards.json").stat().st_mtime_ns
    assert open_shards(trial).fingerprint == shards.fingerprint
    assert (shards.folder / "shards.json").stat().st_mtime_ns == written
    assert shard_folder(make_trial("tokenizer.entries=360", cache_dir=str(tmp_path))) != shards.folder


def test_a_cache_that_cannot_be_written_is_named(make_trial: MakeTrial, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FailureError, match="cannot write the token cache"):
        open_shards(make_trial(cache_dir=str(tmp_path / "file")))
