"""`data prepare`, `stats` and `verify` from the command line, and what a user meets who brings bad data."""

import re
from pathlib import Path

import pytest

from tests.support.in_process import Completed, run_in_process
from tests.support.text import write_text

pytestmark = pytest.mark.usefixtures("no_figures")

SMALL = ["tokenizer.vocab_size=340", "tokenizer.mask_sentinels=16", "scale.window_tokens=40", "mixture=text"]


def data(folder: Path, *words: str) -> Completed:
    return run_in_process(folder, "data", *words, *SMALL, f"cache_dir={folder / 'cache'}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_text(folder / "text", 60, seed=0)
    (folder / "text" / "copy.txt").write_text((folder / "text" / "001.txt").read_text())
    (folder / "text" / "picture.txt").write_bytes(b"\x89PNG\0\0")
    return folder


FILES = ["corpus=files", "corpus.sources.text.files.path=text", "cleaning.skip=[binary]"]


def test_a_corpus_from_preparing_to_verifying(folder: Path) -> None:
    refused = data(folder, "prepare", *FILES[:2])
    assert refused.returncode == 1
    assert "picture.txt: not text (byte 4 is NUL)" in refused.stderr
    assert "cleaning.skip=[binary]" in refused.stderr
    made = data(folder, "prepare", *FILES)
    assert made.returncode == 0, made.stderr
    assert "Prepared: " in made.stdout
    assert data(folder, "prepare", *FILES).stdout.startswith("Already prepared: ")
    shown = data(folder, "stats", *FILES)
    assert shown.returncode == 0, shown.stderr
    for words in ("Train text", "Splits", "best_fit", "duplicate", "binary"):
        assert words in shown.stdout
    as_markdown = data(folder, "stats", "--markdown", *FILES).stdout
    [card] = (folder / "cache" / "shards").glob("*/card.md")
    assert as_markdown == card.read_text()
    assert "| text | 62 | 1 | 1 | 60 |" in as_markdown
    verified = data(folder, "verify", *FILES)
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.count("files unchanged") == 2
    [tokens] = (folder / "cache" / "shards").glob("*/tokens/*.bin")
    content = bytearray(tokens.read_bytes())
    content[100] ^= 4
    tokens.write_bytes(content)
    damaged = data(folder, "verify", *FILES)
    assert damaged.returncode == 1
    assert "00000.text.bin: changed since it was written" in damaged.stderr
    trained = data(folder, "show", "0", *FILES)
    assert trained.returncode == 1
    assert "changed since it was written" in trained.stderr


def test_a_changed_file_is_taken_by_preparing_alone(folder: Path) -> None:
    other = [*FILES, "corpus.test_fraction=0.2"]
    assert data(folder, "prepare", *other).returncode == 0
    (folder / "text" / "new.txt").write_text("a new text")
    refused = data(folder, "stats", *other)
    assert refused.returncode == 1
    assert "new.txt: changed since the corpus was prepared" in refused.stderr
    assert data(folder, "prepare", *other).returncode == 0
    assert data(folder, "stats", *other).returncode == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*FILES,), "data: needs one of prepare, show, stats, verify after it."),
        (
            ("prepared", *FILES),
            "data prepared: unknown. Did you mean prepare? Allowed: prepare, show, stats, verify.",
        ),
        (("prepare", "7", *FILES), "data prepare 7: takes a grid's overrides only"),
        (("stats", "x", *FILES), "data stats x: takes a grid's overrides and --markdown"),
        (("prepare", *FILES, "corpus.sources.text.files.reader=csv"), "reader=csv: no such reader."),
        (("prepare", *FILES, "+corpus.sources.text.files.pattern=x"), "pattern: unknown key."),
        (("prepare", "corpus=files", "corpus.sources.text.files.path=nowhere"), "nowhere does not exist"),
        (("prepare", *FILES, "corpus.sources.text.files.include=[a.py]"), "matches include=a.py"),
        (("prepare", *FILES, "cleaning.skip=[pictures]"), "cleaning.skip"),
        (("prepare", *FILES, "mixture.weights.text=-1"), "mixture.weights.text=-1"),
        (("prepare", *FILES, "+mixture.weights.code=1"), "mixture.weights.code: the corpus has no such source."),
        (("prepare", *FILES, "mixture.stages=[{from_fraction:0.5,weights:{x:1}}]"), "mixture.stages.0.weights.x"),
        (("show", "0", *FILES, "mixture.max_epochs=1", "budget.train_tokens=1e7"), "mixture.max_epochs=1: the budget"),
    ],
)
def test_what_is_wrong_is_told(folder: Path, words: tuple[str, ...], message: str) -> None:
    refused = data(folder, *words)
    assert refused.returncode == 2, refused.stderr
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr


def test_tokens_made_elsewhere_serve_as_they_lie(folder: Path) -> None:
    assert data(folder, "prepare", *FILES, "tokenizer=bytes").returncode == 0
    [made] = [path for path in (folder / "cache" / "shards").glob("*/shards.json") if "kind bytes" in card_of(path)]
    shards = folder / "shards"
    shards.mkdir()
    for kind in ("bin", "idx"):
        [path] = made.parent.glob(f"tokens/*.text.{kind}")
        (shards / f"tokens.{kind}").write_bytes(path.read_bytes())
    # The first of the 9 special tokens, before 16 masks.
    special = 340 - 9 - 16
    unended = ["corpus=megatron", "corpus.sources.text.shards.path=shards"]
    unended += ["corpus.test_fraction=0.1", "corpus.val_fraction=0.1"]
    given = [*unended, f"corpus.sources.text.shards.end_of_document={special}"]
    its = ["tokenizer=bytes"]
    assert data(folder, "prepare", *given, *its).returncode == 0
    shown = data(folder, "stats", "--markdown", *given, *its)
    assert shown.returncode == 0, shown.stderr
    [counts] = re.findall(r"\| text \| (\d+) \| – \| (\d+) \| – \| (\d+) \| – \|", shown.stdout)
    train, tune, test = map(int, counts)
    assert tune == test == round(0.1 * (train + tune + test))
    assert "<|endoftext|>" in data(folder, "show", *map(str, range(60)), *given, *its).stdout
    refused = data(folder, "prepare", *unended, *its, "corpus.sources.text.shards.end_of_document=null")
    assert refused.returncode == 2
    assert f"tokens.bin: holds the id {special}, but the tokenizer's text has ids below 256" in refused.stderr
    index = (shards / "tokens.idx").read_bytes()
    (shards / "tokens.idx").write_bytes(index[:-8])
    torn = data(folder, "stats", *given, *its)
    assert torn.returncode == 1
    assert "tokens.idx" in torn.stderr


def card_of(path: Path) -> str:
    return (path.parent / "card.md").read_text()
