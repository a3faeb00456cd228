import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from omegaconf import OmegaConf

from ablate.config.data import CorpusConfig, ReaderConfig
from ablate.config.parse import composed_from_container
from ablate.data.corpus.readers import READERS
from ablate.data.corpus.readers.hub import Hub
from ablate.data.corpus.readers.jsonl import JsonLines
from ablate.data.corpus.readers.parquet import Parquet
from ablate.data.corpus.readers.reader import Problem, RawDocument, Reader
from ablate.data.corpus.recipe import check_readers, reader_of
from ablate.errors import FailureError, UsageError
from tests.support.trials import container_of

COLUMNS: dict[str, Any] = {
    "text_column": "text",
    "language_column": None,
    "language": "",
    "licence_column": None,
    "where": {},
}
JSONL = {**COLUMNS, "include": ("*.jsonl*",), "exclude": ()}
PARQUET = {**COLUMNS, "include": ("*.parquet",), "exclude": ()}


def everything(reader: Reader) -> list[RawDocument | Problem]:
    return [document for part in reader.parts() for document in reader.documents(part)]


def texts(reader: Reader) -> list[str]:
    return [document.text for document in everything(reader) if isinstance(document, RawDocument)]


def problems(reader: Reader) -> list[Problem]:
    return [document for document in everything(reader) if isinstance(document, Problem)]


LINES = [json.dumps({"text": f"line {number} " + "é" * (number % 7)}, ensure_ascii=False) for number in range(200)]
EXPECTED = [json.loads(line)["text"] for line in LINES]


@pytest.mark.parametrize("part_bytes", [1, 17, 64, 10_000])
def test_json_lines_split_at_any_byte_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_bytes: int
) -> None:
    path = tmp_path / "all.jsonl"
    path.write_text("\n".join(LINES), encoding="utf-8")
    monkeypatch.setattr("ablate.data.corpus.readers.jsonl.PART_BYTES", part_bytes)
    reader = JsonLines(path=str(path), **JSONL)
    assert texts(reader) == EXPECTED
    assert len({part.label for part in reader.parts()}) == len(reader.parts())


@pytest.mark.parametrize(
    ("suffix", "compressed"), [(".gz", gzip.compress), (".zst", lambda content: zstandard.compress(content))]
)
def test_compressed_lines(tmp_path: Path, suffix: str, compressed: Callable[[bytes], bytes]) -> None:
    half = len(LINES) // 2
    members = [compressed(("\n".join(lines) + "\n").encode()) for lines in (LINES[:half], LINES[half:])]
    path = tmp_path / f"all.jsonl{suffix}"
    path.write_bytes(b"".join(members))
    assert texts(JsonLines(path=str(tmp_path), **JSONL)) == EXPECTED
    path.write_bytes(members[0][:-9])
    with pytest.raises(FailureError, match=rf"all\.jsonl\{suffix}: cannot be read to its end"):
        everything(JsonLines(path=str(tmp_path), **JSONL))


def test_invalid_lines_are_reported(tmp_path: Path) -> None:
    lines = [
        b'{"text": "fine"}',
        b"",
        b"{",
        b"[1]",
        b'{"content": "x"}',
        b'{"text": 7}',
        b"\xff",
        b'{"text": "a\\u0000b"}',
    ]
    (tmp_path / "some.jsonl").write_bytes(b"\n".join(lines))
    reader = JsonLines(path=str(tmp_path), **JSONL)
    assert texts(reader) == ["fine"]
    reported = problems(reader)
    assert [problem.kind for problem in reported] == [
        "bad_json",
        "bad_json",
        "no_text",
        "no_text",
        "not_utf8",
        "binary",
    ]
    assert "some.jsonl, byte 18: not JSON" in reported[0].message
    assert reported[2].message.endswith(
        "text is missing. The row has content; set text_column to the one with the text."
    )


def test_a_column_that_no_line_has_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "some.jsonl").write_text('{"text": "a", "meta": {"set": "x"}}\n{"text": "b", "lang": "C"}\n')
    for named in ({"language_column": "lang"}, {"licence_column": "meta.set"}, {"where": {"lang": ("C",)}}):
        everything(JsonLines(path=str(tmp_path), **JSONL | named))
    with pytest.raises(UsageError, match=r"some\.jsonl: has no column language\. It has text, meta\.set\. Set"):
        everything(JsonLines(path=str(tmp_path), **JSONL | {"language_column": "language"}))


def test_a_line_that_does_not_fit_in_memory_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some.jsonl").write_text("\n".join(['{"text": "%s"}' % ("x" * 500), *LINES[:3]]))
    monkeypatch.setattr("ablate.data.corpus.readers.jsonl.MOST_BYTES", 200)
    reader = JsonLines(path=str(tmp_path), **JSONL)
    assert [problem.kind for problem in problems(reader)] == ["too_long"]
    assert texts(reader) == EXPECTED[:3]


ROWS: list[dict[str, Any]] = [
    {"text": f"text {n}", "meta": {"set": "a" if n % 2 else "b"}, "licences": ["MIT"] if n % 3 else None, "lang": "C"}
    for n in range(60)
]


@pytest.mark.parametrize("part_bytes", [1, 300, 10**9])
def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_bytes: int) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "some.parquet", row_group_size=7)
    monkeypatch.setattr("ablate.data.corpus.readers.parquet.PART_BYTES", part_bytes)
    named = {"language_column": "lang", "licence_column": "licences", "where": {"meta.set": ("a",)}}
    reader = Parquet(path=str(tmp_path), **PARQUET | named)
    documents = everything(reader)
    assert [document.text for document in documents if isinstance(document, RawDocument)] == [
        row["text"] for row in ROWS if row["meta"]["set"] == "a"
    ]
    first = documents[0]
    assert isinstance(first, RawDocument)
    assert (first.language, first.licences, first.name.endswith("some.parquet, row 1")) == ("C", ("MIT",), True)
    assert isinstance(documents[1], RawDocument)
    assert documents[1].licences == ()


def test_a_missing_column_is_rejected_with_the_existing_ones(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "some.parquet")
    with pytest.raises(UsageError, match=r"no column content\. It has text, meta\.set, licences, lang\. Set"):
        Parquet(path=str(tmp_path), **PARQUET | {"text_column": "content"}).parts()
    (tmp_path / "other.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(FailureError, match=r"other\.parquet: not a readable Parquet file"):
        Parquet(path=str(tmp_path), **PARQUET).parts()


# The columns of the hub's data sets, and their files; what is read of a row is what the second column says.
STACK = {
    "hexsha": "00",
    "ext": "py",
    "lang": "Python",
    "max_stars_repo_path": "a.py",
    "max_stars_repo_name": "owner/name",
    "max_stars_repo_licenses": ["MIT", "Apache-2.0"],
    "content": "print(1)",
}
HUB_ROWS: dict[str, tuple[str, dict[str, Any], RawDocument]] = {
    "stack_dedup": ("data/python", STACK, RawDocument("", "print(1)", "Python", ("MIT", "Apache-2.0"), "owner/name")),
    "starcoderdata": (
        "python",
        {"max_stars_repo_path": "a.py", "max_stars_repo_name": "o/n", "id": "7", "content": "print(1)"},
        RawDocument("", "print(1)", "Python", group="o/n"),
    ),
    "pile_uncopyrighted": (
        "train",
        {"text": "A text.", "meta": {"pile_set_name": "ArXiv"}},
        RawDocument("", "A text.", "ArXiv"),
    ),
    "fineweb": (
        "sample/10BT",
        {"text": "A text.", "id": "<urn:1>", "url": "u", "language": "en", "token_count": 3},
        RawDocument("", "A text.", "en"),
    ),
}


def preset(name: str) -> CorpusConfig:
    mixture = "mixture=code" if name in ("stack_dedup", "starcoderdata") else "mixture=text"
    return composed_from_container(container_of(f"corpus={name}", mixture)).trial.corpus


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_MODULES_CACHE", tmp_path / "modules")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HUB_ROWS)
def test_hub_presets_read_a_local_tree_with_the_hub_call_s_own_arguments(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: None
) -> None:
    import datasets

    folder, row, expected = HUB_ROWS[name]
    config = preset(name)
    [(source, readers)] = config.sources.items()
    [(label, chosen)] = readers.items()
    hub_path = chosen.parameters["path"]
    root = tmp_path / "tree" / hub_path
    (root / folder).mkdir(parents=True)
    for number in range(3):
        rows = [row | {"id": f"{number}/{turn}"} for turn in range(2)]
        pq.write_table(pa.Table.from_pylist(rows), root / folder / f"train-{number:05d}-of-00003.parquet")
    if chosen.parameters["name"]:
        # As FineWeb's own card names its samples.
        configs = [
            {"config_name": chosen.parameters["name"], "data_files": [{"split": "train", "path": f"{folder}/*"}]}
        ]
        (root / "README.md").write_text(f"---\n{OmegaConf.to_yaml(OmegaConf.create({'configs': configs}))}---\n")
    calls: list[tuple[Any, ...]] = []
    load_builder = datasets.load_dataset_builder

    def spy(path: str, **arguments: Any) -> Any:
        calls.append((path, arguments))
        return load_builder(str(tmp_path / "tree" / path), **arguments)

    monkeypatch.setattr(datasets, "load_dataset_builder", spy)
    reader = reader_of(config, source, label)
    assert isinstance(reader, Hub)
    documents = everything(reader)
    assert [document for document in documents if isinstance(document, RawDocument)] == documents
    assert [replace(document, name="") for document in documents if isinstance(document, RawDocument)] == [expected] * 6
    assert documents[5].name == f"{hub_path}, file 2, row 1"  # type: ignore[union-attr]
    given = {key: chosen.parameters[key] for key in ("name", "data_dir") if chosen.parameters[key]}
    assert calls[0] == (hub_path, given)
    assert len(everything(replace(reader, files=1))) == 2
    with pytest.raises(UsageError, match=r"has no column body\. It has "):
        replace(reader, text_column="body").parts()


@pytest.mark.filterwarnings("ignore")
def test_an_error_of_the_hub_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, offline: None) -> None:
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    reader = Hub(
        **COLUMNS, path="owner/it", name=None, data_dir=None, data_files=None, split="train", revision=None, files=None
    )

    def raises(error: Exception) -> None:
        def load(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(datasets, "load_dataset_builder", load)

    raises(DatasetNotFoundError("Dataset 'owner/it' is a gated dataset on the Hub. You must be authenticated."))
    with pytest.raises(
        FailureError, match=r"(?s)owner/it is gated\. Accept its terms at.*datasets/owner/it.*hf auth login"
    ):
        reader.parts()
    raises(DatasetNotFoundError("Dataset 'owner/it' doesn't exist on the Hub or cannot be accessed."))
    with pytest.raises(UsageError, match=r"the hub has no data set owner/it \(revision main\) that you may read"):
        reader.parts()
    raises(ConnectionError("Couldn't reach 'owner/it' on the Hub"))
    with pytest.raises(FailureError, match=r"owner/it cannot be reached .*path= a folder"):
        reader.parts()
    monkeypatch.undo()
    (tmp_path / "data").mkdir()
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "data" / "some.parquet")
    with pytest.raises(UsageError, match=r"has nothing for name=None .* split=validation"):
        replace(reader, path=str(tmp_path / "data"), split="validation").parts()


@pytest.mark.parametrize("group", ["wheels", "files", "jsonl", "parquet", "hub", "megatron", *HUB_ROWS])
def test_every_preset_has_all_parameters_of_its_readers(group: str) -> None:
    sources = OmegaConf.load(f"conf/corpus/{group}.yaml").sources
    for source, readers in sources.items():
        for label, given in readers.items():
            filled = {key: "x" if OmegaConf.is_missing(given, key) else given[key] for key in given}
            plain: Any = OmegaConf.to_container(OmegaConf.create(filled))
            reader = ReaderConfig(plain.pop("reader"), plain)
            config = composed_from_container(container_of()).trial.corpus
            check_readers(replace(config, sources={source: {label: reader}}))


def test_every_reader_has_a_preset() -> None:
    used = {
        given.reader
        for path in Path("conf/corpus").glob("*.yaml")
        for readers in OmegaConf.load(path).sources.values()
        for given in readers.values()
    }
    assert used == set(READERS)
