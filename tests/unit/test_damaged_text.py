"""Text as it comes: byte-order marks, invalid UTF-8, cells without a value, deep JSON, odd compression, odd names."""

import codecs
import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from ablate.config.data import CorpusConfig, ReaderConfig
from ablate.data.corpus.cleaning import Cleaning
from ablate.data.corpus.readers.files import TextFiles
from ablate.data.corpus.readers.hub import Hub
from ablate.data.corpus.readers.jsonl import JsonLines
from ablate.data.corpus.readers.parquet import Parquet
from ablate.data.corpus.readers.reader import Problem, RawDocument, Reader
from ablate.data.corpus.recipe import reader_of
from ablate.errors import FailureError, UsageError
from tests.support.in_process import run_in_process
from tests.support.trials import MakeTrial
from tests.unit.test_readers import COLUMNS, JSONL, PARQUET, everything, problems, texts

HUB: dict[str, Any] = {
    **COLUMNS,
    "name": None,
    "data_dir": None,
    "data_files": None,
    "split": "train",
    "revision": None,
    "files": None,
}


def parquet(folder: Path, **columns: pa.Array) -> Path:
    pq.write_table(pa.table(columns), folder / "some.parquet", row_group_size=3)
    return folder / "some.parquet"


def strings(*cells: bytes | None) -> pa.Array:
    """Text cells with any bytes, as damaged files have them; Arrow does not look."""
    return pa.Array.from_buffers(pa.string(), len(cells), pa.array(cells, pa.binary()).buffers())


def json_lines(folder: Path, *files: list[Any]) -> Path:
    for number, rows in enumerate(files):
        (folder / f"{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "others", [(None, "a text"), (None, {"a": 1}), (1, "a text"), ([1], {"b": 2}), ("a text", ...)], ids=str
)
def test_columns_that_are_not_read_may_have_any_type(tmp_path: Path, others: tuple[Any, Any]) -> None:
    first, second = ([{"text": f"{n}", "other": other} for n in range(3)] for other in others[:1] * 2)
    second = [{"text": f"{n + 3}"} | ({} if others[1] is ... else {"other": others[1]}) for n in range(3)]
    reader = Hub(path=str(json_lines(tmp_path, first, second)), **HUB)
    assert texts(reader) == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.filterwarnings("ignore")
def test_a_text_column_of_several_types_gives_problems_and_no_quotes(tmp_path: Path) -> None:
    rows = [{"text": "a", "meta": {"set": "x"}}, {"text": 5, "meta": 1}, {"text": None, "meta": None}]
    reader = Hub(path=str(json_lines(tmp_path, rows)), **HUB | {"language_column": "meta.set"})
    first, *others = everything(reader)
    assert isinstance(first, RawDocument)
    assert (first.text, first.language) == ("a", "x")
    assert [problem.kind for problem in others if isinstance(problem, Problem)] == ["no_text", "no_text"]


@pytest.mark.filterwarnings("ignore")
def test_a_file_of_a_data_set_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = json_lines(tmp_path, [{"text": "a"}], [{"text": "b"}])
    (folder / "1.jsonl").write_bytes(b'{"text": "\xff"}\n')
    [problem] = problems(Hub(path=str(folder), **HUB))
    assert (problem.kind, f"{folder}, file 1, row 0, column text: not UTF-8" in problem.message) == ("not_utf8", True)
    (folder / "1.jsonl").write_bytes(b'{"text": ')
    with pytest.raises(FailureError, match=r"file 1: cannot be read .* corpus=jsonl or corpus=parquet"):
        everything(Hub(path=str(folder), **HUB))


def test_invalid_utf8_in_parquet_is_a_problem_with_its_row(tmp_path: Path) -> None:
    path = parquet(
        tmp_path, text=strings(b"fine", b"a\xffb", None, b"\xc3\xa9"), lang=strings(b"C", b"C", b"C", b"\xe9")
    )
    reader = Parquet(path=str(tmp_path), **PARQUET)
    assert texts(reader) == ["fine", "é"]
    assert next((problem.kind, problem.message) for problem in problems(reader)) == (
        "not_utf8",
        f"{path}, row 1, column text: not UTF-8 (byte 1 is 0xff). Fix or remove the row.",
    )
    reader = Parquet(path=str(tmp_path), **PARQUET | {"language_column": "lang"})
    assert [problem.message.split(":")[0] for problem in problems(reader)] == [
        f"{path}, row 1, column text",
        f"{path}, row 2",
        f"{path}, row 3, column lang",
    ]


def test_a_cell_that_cannot_be_converted_is_a_problem_that_may_be_skipped(
    tmp_path: Path, make_trial: MakeTrial
) -> None:
    days = pa.array([0, 2**31 - 1, 1], pa.int32()).cast(pa.date32())
    meta = pa.StructArray.from_arrays([days], names=["day"])
    path = parquet(tmp_path, text=pa.array(["a", "b", "c"]), day=days, meta=meta)
    for column in ("day", "meta.day"):
        reader = Parquet(path=str(tmp_path), **PARQUET | {"language_column": column})
        assert texts(reader) == ["a", "c"]
        [problem] = problems(reader)
        assert problem.kind == "bad_value"
        assert problem.message.startswith(f"{path}, row 1, column {column}: a value of type date32[day] that cannot")
    # Nobody asks for the column.
    assert texts(Parquet(path=str(tmp_path), **PARQUET)) == ["a", "b", "c"]
    assert date(1970, 1, 1).isoformat() in {str(cell) for cell in days[:1].to_pylist()}
    assert Cleaning(make_trial("cleaning=standard").cleaning)(problem) == "bad_value"
    with pytest.raises(FailureError, match=r"cleaning\.skip=\[bad_value\]"):
        Cleaning(make_trial().cleaning)(problem)


MARK = codecs.BOM_UTF8


def test_a_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "some.jsonl").write_bytes(MARK + b'{"text": "a"}\n{"text": "b"}\n' + MARK + b'{"text": "c"}\n')
    assert texts(JsonLines(path=str(tmp_path), **JSONL)) == ["a", "b", "c"]
    (tmp_path / "some.txt").write_bytes(MARK + "é".encode())
    (tmp_path / "wide.txt").write_bytes("é".encode("utf-16"))
    reader = TextFiles(path=str(tmp_path), include=("*.txt",), exclude=())
    assert texts(reader) == ["é"]
    [problem] = problems(reader)
    assert (problem.kind, problem.message.split(": ")[1]) == (
        "not_utf8",
        "UTF-16. Convert it to UTF-8 (iconv -f UTF-16 -t UTF-8) or exclude it.",
    )


def test_json_that_is_nested_too_deeply_is_a_problem(tmp_path: Path) -> None:
    deep = b'{"text": "a", "more": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    (tmp_path / "some.jsonl").write_bytes(b'{"text": "b"}\n' + deep + b'\n{"text": "c"}\n')
    reader = JsonLines(path=str(tmp_path), **JSONL)
    assert texts(reader) == ["b", "c"]
    assert [(problem.kind, "some.jsonl, byte 14: JSON" in problem.message) for problem in problems(reader)] == [
        ("bad_json", True)
    ]


@pytest.mark.parametrize("is_streamed", [True, False])
def test_a_zstd_window_that_is_too_large_is_named(tmp_path: Path, is_streamed: bool) -> None:
    content = b'{"text": "a"}\n' * (16 if is_streamed else 2**24)
    parameters = zstandard.ZstdCompressionParameters(window_log=28, compression_level=1)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj(
        -1 if is_streamed else len(content)
    )
    (tmp_path / "some.jsonl.zst").write_bytes(compressor.compress(content) + compressor.flush())
    with pytest.raises(
        FailureError, match=r"some\.jsonl\.zst: compressed with a window of (256|224) MiB .* at most 128"
    ):
        everything(JsonLines(path=str(tmp_path), **JSONL))


def where_reader(folder: Path, where: Any) -> Reader:
    parameters = {**PARQUET, "where": where, "path": str(folder)}
    config = CorpusConfig({"text": {"table": ReaderConfig("parquet", parameters)}}, 0.1, 0.1, None)
    reader = reader_of(config, "text", "table")
    assert isinstance(reader, Parquet)
    return reader


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        (None, "abcd"),
        ({}, "abcd"),
        ({"stars": [5]}, "ac"),
        ({"stars": ["5", 6]}, "abc"),
        ({"stars": 5}, "ac"),
        ({"score": [5]}, "ab"),
        ({"score": [0.5]}, "c"),
        ({"ok": [True]}, "ad"),
        ({"ok": "false", "name": ["x", "z"]}, "b"),
        ({"stars": []}, ""),
    ],
)
def test_where_takes_texts_numbers_and_booleans(tmp_path: Path, where: Any, kept: str) -> None:
    parquet(
        tmp_path,
        text=pa.array(list("abcd")),
        stars=pa.array([5, 6, 5, 7]),
        score=pa.array([5.0, 5.0, 0.5, None]),
        ok=pa.array([True, False, False, True]),
        name=pa.array(["x", "x", "y", "z"]),
    )
    assert texts(where_reader(tmp_path, where)) == list(kept)


def test_where_stands_on_the_command_line_and_unknown_keys_name_those_of_the_chosen_corpus(tmp_path: Path) -> None:
    rows = 200
    path = parquet(tmp_path, text=pa.array([f"text {n}" for n in range(rows)]), stars=pa.array([0, 1] * (rows // 2)))
    words = ["corpus=parquet", "mixture=text", "tokenizer=bytes", f"corpus.sources.text.table.path={path}"]
    words += ["cache_dir=cache", "corpus.val_fraction=0.1", "corpus.test_fraction=0.1"]
    prepared = run_in_process(tmp_path, "data", "prepare", *words, "corpus.sources.text.table.where={stars: [1]}")
    assert prepared.returncode == 0, prepared.stderr
    [card] = tmp_path.glob("cache/corpora/*/corpus.json")
    assert sum(row[3] for row in json.loads(card.read_text())["statistics"]) == rows // 2
    wrong = run_in_process(tmp_path, "data", "prepare", *words, "corpus.sources.text.table.were={stars: [1]}")
    assert wrong.returncode == 2
    assert (
        "Did you mean corpus.sources.text.table.where? Allowed: exclude, group_column, include, language,"
        in wrong.stderr
    )


def test_a_file_whose_name_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")
    Path(odd).write_text("b")
    reader = TextFiles(path=str(tmp_path), include=("*.txt",), exclude=())
    with pytest.raises(UsageError, match=r"caf\\xe9\.txt' is not UTF-8\. Rename it .* exclude="):
        reader.parts()
    assert texts(TextFiles(path=str(tmp_path), include=("*.txt",), exclude=("caf*",))) == ["a"]
