"""Ways of asking again until a verdict pleases, from the command line: each is told in the verdict, or paid for."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ablate.scheduling.launchers import local
from tests.support.command_line import ablate
from tests.support.scored_grids import scoring_launcher
from tests.support.text import write_text

pytestmark = pytest.mark.usefixtures("no_figures")

SCORES = {
    "causal": lambda seed: 2 + 0.1 * seed + 0.001 * (seed % 2),
    "prefix": lambda seed: 2.5 + 0.1 * seed + 0.002 * (seed % 3),
    "mixed": lambda seed: 2.6 + 0.1 * seed + 0.003 * (seed % 2),
    "mixed_prefix": lambda seed: 2.7 + 0.1 * seed,
}
METRICS = ("bpb_full", "bpb_continuation")
COMMON = ["lesson.primary_metric=bpb_full", "evaluation=[bits_per_byte]"]
FIRST = ["-m", "objective=causal,prefix,mixed", "seed=0,1,2,3"]

# Way of asking again → (the command, what stands before the verdict on `prefix` or the arm named, part of a note).
AGAIN: dict[str, tuple[list[str], dict[str, str], str]] = {
    "fresh seeds": (["seed=10,11,12"], {"prefix": "try 2: worse"}, "2 tries give a false verdict in up to 10%"),
    "another learning rate": (["optimizer.learning_rate=1e-3"], {"prefix": "try 2: worse"}, "Try 2: "),
    "another schedule": (["schedule.warmup_fraction=0.1"], {"prefix": "try 2: worse"}, "Try 2: "),
    "other documents": (["corpus.test_fraction=0.3"], {"prefix": "try 2: worse"}, "Try 2: "),
    "more passages": (
        ["evaluation.suites.bits_per_byte.passages_per_source=5"],
        {"prefix": "try 2: post hoc: worse"},
        "trials of these arms were scored before",
    ),
    "another smallest effect": (["lesson.smallest_effect=1"], {"prefix": "try 2: post hoc: equivalent"}, "Try 2: "),
    "another confidence": (["lesson.confidence=0.9"], {"prefix": "try 2: post hoc: worse"}, "Try 2: "),
    "another metric": (["lesson.primary_metric=bpb_continuation"], {"prefix": "try 2: post hoc: worse"}, "Try 2: "),
    "another baseline": (["lesson.baseline=prefix"], {"causal": "try 2: post hoc: better"}, "Try 2: "),
    "more replicates": (["seed=0,1,2,3,4"], {"prefix": "try 2: post hoc: worse"}, "Try 2: "),
    "an arm dropped": (["objective=causal,prefix"], {"prefix": "try 2: post hoc: worse"}, "Try 2: "),
    "a seed dropped": (
        ["seed=0,1,2"],
        {"prefix": "try 2: picked seeds: post hoc: worse"},
        "causal has scores under the seeds 3, which this grid leaves out",
    ),
    "seeds picked for a new arm": (
        ["objective=causal,mixed_prefix", "seed=0,2,3"],
        {"mixed_prefix": "picked seeds: worse"},
        "causal has scores under the seeds 1",
    ),
    "another arm in a grid of its own": (
        ["objective=causal,mixed_prefix"],
        {"mixed_prefix": "worse"},
        "have served 2 comparisons in earlier grids",
    ),
    "another factor": (
        ["seed=10,11,12", "optimizer.learning_rate=1e-3,2e-3", "lesson.compare=[main_effects]"],
        {"objective: prefix − causal": "try 2: worse"},
        "Try 2: ",
    ),
    "another name": (["lesson.name=other", "seed=10,11,12"], {"prefix": "try 2: worse"}, "Try 2: "),
    "looks whose seeds were seen": (
        ["replicates=2", "max_replicates=4"],
        {"prefix": "try 2: post hoc: worse"},
        "Try 2: ",
    ),
    "a contrast of one's own": (
        ["lesson.compare=[]", "+lesson.contrasts={mine: {weights: {causal: 0.5, prefix: -0.5}}}"],
        {"mine": "try 2: post hoc: better"},
        "Try 2: ",
    ),
}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The ledger after the first grid; trials end at once in all tests of this module."""
    folder = tmp_path_factory.mktemp("tries")
    write_text(folder / "text", 40, seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "LocalLauncher", scoring_launcher(SCORES, METRICS))
        assert ablate(folder, *FIRST, *COMMON).returncode == 0
        yield folder / "runs"


@pytest.fixture
def ledger(first: Path, tmp_path: Path) -> Path:
    """A ledger of its own, beside the first one, whose text and cache it uses."""
    return Path(shutil.copytree(first, first.with_name(tmp_path.name)))


def lesson(ledger: Path, words: list[str]) -> dict[str, Any]:
    """Run a grid and return its lesson as JSON."""
    folder = ledger.parent
    given = {word.split("=")[0] for word in words}
    words = words if "runs_dir" in given else [*words, f"runs_dir={ledger.name}"]
    seeds = {"seed"} if "replicates" in given else set()
    rest = [word for word in FIRST + COMMON if word.split("=")[0] not in given | seeds]
    done = ablate(folder, *rest, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    printed = ablate(folder, "lessons", "--json", *rest, *words)
    assert printed.returncode == 0, printed.stderr
    [found] = json.loads(printed.stdout)["lessons"]
    return found  # type: ignore[no-any-return]


def verdicts(found: dict[str, Any]) -> dict[str, str]:
    return {
        each["contrast"]: ": ".join([*each["qualifiers"], each["verdict"]])
        for each in found["comparisons"]
        if each["verdict"] and each["metric"] == found["primary_metric"]
    }


@pytest.mark.parametrize("way", AGAIN)
def test_asking_again_is_told(ledger: Path, way: str) -> None:
    words, expected, note = AGAIN[way]
    found = lesson(ledger, words)
    assert expected.items() <= verdicts(found).items()
    assert any(note in sentence for sentence in found["notes"]), found["notes"]


@pytest.mark.parametrize(
    "words",
    [
        ["scale.d_model=64"],
        ["budget.train_tokens=1600"],
        ["objective=mixed,mixed_prefix", "seed=10,11"],
        ["tokenizer=bytes"],
    ],
    ids=lambda words: words[0],
)
def test_another_question_is_a_first_try(ledger: Path, words: list[str]) -> None:
    found = lesson(ledger, words)
    assert found["try_number"] == 1
    assert all(each["qualifiers"] == [] for each in found["comparisons"])


def test_tries_add_up(ledger: Path) -> None:
    for count, seeds in enumerate(("10,11,12", "13,14,15", "16,17,18"), start=2):
        found = lesson(ledger, [f"seed={seeds}"])
        assert found["try_number"] == count
        assert found["error_of_tries"] == pytest.approx(1 - 0.95**count)
    assert verdicts(found)["prefix"] == "try 4: worse"


def test_the_same_command_again_is_no_try(ledger: Path) -> None:
    assert lesson(ledger, [])["try_number"] == 1


def test_a_grid_that_scored_nothing_is_no_try(first: Path) -> None:
    words = ["-m", "objective=causal,ul2", "seed=0,1", *COMMON, "tokenizer=bytes", "runs_dir=nothing"]
    assert ablate(first.parent, *words).returncode != 0
    assert lesson(first.with_name("nothing"), [])["try_number"] == 1


def test_planned_comparisons_share_one_error(ledger: Path) -> None:
    plan = ["runs_dir=planned", "lesson.planned_comparisons=3"]
    whole = lesson(ledger, ["runs_dir=alone", "objective=causal,prefix"])
    first = lesson(ledger, [*plan, "objective=causal,prefix"])
    second = lesson(ledger, [*plan, "objective=causal,mixed"])
    third = lesson(ledger, [*plan, "objective=causal,mixed_prefix"])

    def width(found: dict[str, Any]) -> float:
        [each] = [each for each in found["comparisons"] if each["metric"] == "bpb_full"]
        return float(each["high"] - each["low"])

    assert width(first) > 1.5 * width(whole), "a third of the error at four seeds"
    assert [found["error_beside"] for found in (first, second, third)] == pytest.approx(
        [1 - (1 - 0.05 / 3) ** count for count in (1, 2, 3)]
    )
    assert any("Planned: 3 comparisons with causal share the error of 5%" in note for note in first["notes"])
    assert any("these are number 3" in note for note in third["notes"])
    refused = ablate(ledger.parent, *FIRST, *COMMON, f"runs_dir={ledger.name}", "lesson.planned_comparisons=1")
    assert refused.returncode == 2
    assert "lesson.planned_comparisons=1: this grid alone has 2 comparisons." in refused.stderr
