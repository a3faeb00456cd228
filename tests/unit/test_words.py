"""Values that are text stay text on the command line, whatever they look like."""

from pathlib import Path

import pytest

from ablate.config.parse import composed_from_container
from ablate.grid.expand import default_container
from ablate.grid.words import is_text, with_quoted_text
from tests.support.command_line import TINY, ablate
from tests.support.in_process import run_in_process
from tests.support.text import write_text

PATH = "corpus.sources.text.files.path"


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("init_from=22292e012950", "init_from='22292e012950'"),
        ("init_from=012345678901", None),
        ("init_from=ab292e012950,22292e012950", "init_from=ab292e012950,'22292e012950'"),
        ("init_from=null", None),
        ("init_from='22292e012950'", None),
        ("+init_from=1", "+init_from='1'"),
        (f"{PATH}=2024", f"{PATH}='2024'"),
        (f"{PATH}=/data/文字,/data/b", f"{PATH}='/data/文字',/data/b"),
        ("runs_dir=/a=b", "runs_dir='/a=b'"),
        ("runs_dir=/a,b", "runs_dir='/a,b'"),
        ("runs_dir=/a/(old)", "runs_dir='/a/(old)'"),
        (r"runs_dir=/a/back\slash", None),
        ("lesson.baseline=0.001", "lesson.baseline='0.001'"),
        ("lesson.baseline=true", "lesson.baseline='true'"),
        ("lesson.question=Does it help, and when?", "lesson.question='Does it help, and when?'"),
        ("lesson.question=It's so", r"lesson.question='It\'s so'"),
        ("tokenizer.path=${oc.env:HOME}", None),
        ("hydra.sweeper.study=7", "hydra.sweeper.study='7'"),
        ("seed=0,1", None),
        ("optimizer.learning_rate=0.001", None),
        ("corpus.val_fraction=0.1", None),
        (f"{PATH}=", None),
        ("mixture.weights={code: 1", None),
        ("--cfg", None),
    ],
)
def test_text_is_quoted_where_it_reads_as_something_else(word: str, quoted: str | None) -> None:
    assert with_quoted_text([word]) == [quoted or word]
    assert with_quoted_text([quoted or word]) == [quoted or word]


def test_quoted_text_reaches_the_configuration() -> None:
    given = {"init_from": "22292e012950", "lesson.baseline": "0.001", "runs_dir": "/a=b, c"}
    composed = composed_from_container(default_container(*with_quoted_text(f"{key}={given[key]}" for key in given)))
    assert (composed.trial.init_from, composed.grid.lesson.baseline, composed.runs_dir) == tuple(given.values())
    assert is_text(PATH)
    assert is_text("tokenizer.path")
    assert not any(map(is_text, ("seed", "scale.n_layers", "mixture.weights", "lesson", "nothing.at.all")))


def test_a_baseline_that_is_a_number_and_folders_named_like_one(tmp_path: Path) -> None:
    write_text(tmp_path / "2024", 20, seed=0)
    words = [
        "-m",
        "optimizer.learning_rate=0.001,0.002",
        "lesson.baseline=0.002",
        "seed=0",
        f"{PATH}=2024",
        "--dry-run",
    ]
    words += [*TINY, "cache_dir=7", "runs_dir=2025", "lesson.question=Which rate, if any?"]
    done = run_in_process(tmp_path, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 trials, 2 to run" in done.stdout


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("objective=causal,", "objective=causal,: ends with a comma. Type objective=causal\n"),
        ("objective=漢字", "objective=漢字: has characters that need quotes. Type 'objective=\"漢字\"'\n"),
        (
            "corpus.val_fraction=a=b",
            "corpus.val_fraction=a=b: has characters that need quotes. Type 'corpus.val_fraction=",
        ),
        ("mixture.weights={code: 1", "mixture.weights={code: 1: cannot be read ("),
    ],
)
def test_an_override_that_cannot_be_read_says_what_to_type(tmp_path: Path, word: str, told: str) -> None:
    done = ablate(tmp_path, word)
    assert done.returncode == 2
    assert told in done.stderr
    assert "https://" not in done.stderr
