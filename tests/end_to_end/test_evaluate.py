"""`evaluate`: finished trials are scored by more suites, and lessons compare arms by them."""

import re
from pathlib import Path

import pytest

from ablate.records.ledger import Ledger
from tests.support.benchmarks import write_problems
from tests.support.command_line import ablate
from tests.support.in_process import Completed, run_in_process
from tests.support.text import write_text

GRID = ["-m", "objective=causal,mixed", "seed=0"]
SMALL = ["evaluation.suites.humaneval.samples=1", "evaluation.suites.humaneval.max_new_tokens=4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated")
    write_text(folder / "text", 40, seed=0)
    write_problems(folder / "my problems.jsonl")
    done = ablate(folder, *GRID)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def evaluate(folder: Path, *words: str) -> Completed:
    return run_in_process(folder, "evaluate", *words)


def test_trials_are_scored_once_and_a_lesson_compares_them(folder: Path) -> None:
    ledger = Ledger(folder / "runs")
    grid = ledger.grids()[0]
    words = ["suites=humaneval", "evaluation.suites.humaneval.file=my problems.jsonl", *SMALL]
    done = evaluate(folder, *words, "causal")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "objective=causal" in done.stdout or "causal, seed 0" in done.stdout
    causal = [ledger.trial(trial) for trial in grid.arms[0].trials.values()]
    for trial in causal:
        record = trial.record()
        [suite] = [suite for suite in record.evaluations if "humaneval_bpb" in record.evaluations[suite]]
        assert record.conditions[suite]["sandbox"] in ("bubblewrap", "landlock")
        assert record.attempts[-1].from_step is None, "nothing is trained"
        assert trial.evaluation_path(suite).with_suffix(".programs.parquet").exists()
    # The whole grid: the arm that has its scores is left alone.
    attempts = [len(trial.record().attempts) for trial in causal]
    done = evaluate(folder, *words, f"trial={grid.grid_id}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [len(trial.record().attempts) for trial in causal] == attempts
    attempts = [len(trial.record().attempts) for trial in ledger.trials_of(grid)]
    options = ["evaluation=[bits_per_byte,humaneval]", "lesson.primary_metric=humaneval_bpb"]
    done = ablate(folder, *GRID, *options, "evaluation.suites.humaneval.file=my problems.jsonl", *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "humaneval_bpb  bits per byte, less is better" in " ".join(done.stdout.split("\n"))
    assert [len(trial.record().attempts) for trial in ledger.trials_of(grid)] == attempts, "nothing is scored again"


def test_questions_are_scored_and_prompts_that_did_not_fit_are_told(folder: Path) -> None:
    rows = [{"text": "far away " * 60 + "the cat sat"}, {"text": "a dog ran"}]
    write_problems(folder / "passages.jsonl", rows)
    done = evaluate(folder, "suites=lambada", "evaluation.suites.lambada.file=passages.jsonl", "causal")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"lambada_bpb +\d\.\d{4} +cut prompts: 1 of 2", done.stdout)


def test_a_folder_of_transformers_scores_like_the_trial_that_it_came_from(folder: Path) -> None:
    ledger = Ledger(folder / "runs")
    [trial_id] = ledger.grids()[-1].arms[0].trials.values()
    done = run_in_process(folder, "export", trial_id, "exported", "--qkv-groups", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    words = ["suites=humaneval", "evaluation.suites.humaneval.file=my problems.jsonl", "scale.window_tokens=40", *SMALL]
    done = evaluate(folder, *words, "model=exported")
    assert done.returncode == 0, done.stdout + done.stderr
    [outside] = [trial for trial in ledger.trials() if trial.record().options.get("model") == "exported"]
    [scores] = outside.record().evaluations.values()
    assert evaluate(folder, *words[:2], *SMALL, trial_id).returncode == 0
    own = ledger.trial(trial_id).record()
    [expected] = [own.evaluations[suite]["humaneval_bpb"] for suite in outside.record().evaluations]
    assert scores["humaneval_bpb"] == pytest.approx(expected, rel=1e-5)
    for name in ("exported", "nowhere"):
        (folder / name / "tokenizer.json").unlink(missing_ok=True)
        done = evaluate(folder, *words, f"model={name}")
        assert done.returncode == 2
        message = "has no tokenizer.json. Copy" if name == "exported" else "there is no such folder."
        assert f"model={name}: {message}" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["causal"], "evaluate causal: needs suites=NAME,NAME. Allowed: bits_per_byte, "),
        (["suites=humaneval"], "evaluate: takes ids of trials, grids or tunings, or labels of arms. Usage:"),
        (["suites=humanevl", "causal"], "suites=humanevl: no such suite. Did you mean humaneval? Allowed: "),
        (["suites=humaneval", "000000000000"], "000000000000: no such trial"),
        (
            ["suites=humaneval", "causal", "budget=smoke"],
            "budget=smoke: a trained trial keeps this. Allowed: evaluation",
        ),
        (["suites=humaneval", "causal", "evaluation.suites.humaneval.sample=1"], "evaluation.suites.humaneval.sample"),
        (["suites=humaneval", "causal", "evaluation.suites.humaneval.file=nowhere"], "nowhere: there is no such file."),
        (["suites=lm_eval:", "causal"], "tasks=[] scores nothing. Type suites=lm_eval:arc_easy,hellaswag"),
        (["suites=boolq,lm_eval:arc_easy,mbpp", "causal"], "tasks: mbpp runs programs that the model wrote"),
        (["suites=boolq", "causal", "launcher=slrum"], "launcher=slrum"),
        (["suites=boolq", "causal", "launcher.partition=gpu"], "launcher.partition: unknown key of launcher=local"),
        (["suites=mbpp", "causal"], "file=null: no package has this benchmark. Fetch mbpp.jsonl"),
    ],
)
def test_wrong_words_are_rejected(folder: Path, words: list[str], message: str) -> None:
    done = evaluate(folder, *words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert done.stdout == ""


def test_a_metric_that_the_samples_do_not_give_is_rejected(folder: Path) -> None:
    options = ["evaluation=[bits_per_byte,humaneval]", "lesson.primary_metric=humaneval_pass@10", *SMALL]
    done = ablate(folder, *GRID, *options, "evaluation.suites.humaneval.file=my problems.jsonl")
    assert done.returncode == 2
    assert "lesson.primary_metric=humaneval_pass@10: the suite humaneval writes too few samples" in done.stderr
    assert "Type evaluation.suites.humaneval.samples=10" in done.stderr
