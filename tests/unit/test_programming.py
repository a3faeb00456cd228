"""Suites of programming problems: what they score, what they keep, and what a killed run does again."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from ablate.config.trial import TrialConfig
from ablate.data.tokens.shards import Shards, open_shards
from ablate.errors import FailureError, UsageError
from ablate.evaluation import generate as sampler
from ablate.evaluation.evaluator import Evaluator, SuiteResult
from ablate.evaluation.generate import Problem, Sample
from ablate.evaluation.held_out import HeldOut
from ablate.evaluation.samples import SampleFile
from ablate.evaluation.sandbox import choice
from ablate.evaluation.suite import SUITES, suite_ids, validation_id
from ablate.evaluation.suite_run import SuiteRun
from ablate.model.build import build_model
from tests.support.benchmarks import ROWS, write_problems
from tests.support.scoring import nll_one_by_one
from tests.support.trials import MakeTrial

SOLUTIONS = {row["task_id"]: row["canonical_solution"] for row in ROWS}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_problems(tmp_path / "problems.jsonl")


def with_suite(trial: TrialConfig, name: str, path: Path, **changed: Any) -> TrialConfig:
    """The trial, scored by one suite with small values."""
    parameters = {
        **{"file": str(path), "max_problems": None, "samples": 2, "temperature": 0.8, "top_p": 0.9},
        **{"max_new_tokens": 6, "seed": 0, "leading_end_of_text": True},
    }
    return replace(trial, evaluation=replace(trial.evaluation, suites={name: parameters | changed}))


def scored(trial: TrialConfig, run: SuiteRun | None = None) -> SuiteResult:
    """Score a model with its initial weights."""
    model = build_model(trial, trial.tokenizer.vocab_size).eval()
    [result] = (
        Evaluator(trial, open_shards(trial))
        .score(model, suite_ids(trial).values(), lambda suite: run or SuiteRun())
        .values()
    )
    return result


def writing(texts: dict[str, list[str]]) -> Any:
    """A sampler that writes these texts of each problem."""

    def generate(model: Any, tokenizer: Any, problems: list[Problem], *_: Any, **__: Any) -> Iterator[Sample]:
        for problem in problems:
            for index in problem.samples:
                text = texts[problem.problem_id][index]
                yield Sample(problem.problem_id, index, np.zeros(1, np.int32), text, "end_token", "<|endoftext|>")

    return generate


def test_programs_are_run_and_their_verdicts_kept(
    make_trial: MakeTrial, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {
        "Small/0": [SOLUTIONS["Small/0"], "    return 0\n"],
        "Small/1": [SOLUTIONS["Small/1"], SOLUTIONS["Small/1"]],
        "Small/2": ["    return (\n", "\ud800"],
    }
    monkeypatch.setattr(sampler, "generate", writing(texts))
    run = SuiteRun(tmp_path / "evaluations" / "abc")
    result = scored(with_suite(make_trial("objective=causal"), "humaneval", file), run)
    assert result.metrics["humaneval_pass@1"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert set(result.metrics) == {"humaneval_bpb", "humaneval_pass@1"}
    assert result.conditions == {"sandbox": choice.level_here().name}
    programs = pd.read_parquet(tmp_path / "evaluations" / "abc.programs.parquet")
    assert list(programs["outcome"]) == ["passed", "failed", "passed", "passed", "not loaded", "not loaded"]
    assert set(programs["sandbox"]) == {choice.level_here().name}


def test_the_reference_s_bits_are_those_of_one_pass_per_token(make_trial: MakeTrial, file: Path) -> None:
    trial = with_suite(
        make_trial("objective=causal", "scale.context_tokens=96", "scale.window_tokens=96"),
        "humaneval",
        file,
        samples=0,
    )
    model = build_model(trial, trial.tokenizer.vocab_size).eval()
    held_out = HeldOut(trial, open_shards(trial), "test")
    total = 0.0
    for row in ROWS:
        prompt_T, reference_T = held_out.tokenizer.encode([row["prompt"], row["canonical_solution"]])
        with torch.no_grad():
            total += sum(nll_one_by_one(model, held_out.prompts.continuation(prompt_T), reference_T))
    size = sum(len(row["canonical_solution"]) for row in ROWS)
    assert scored(trial).metrics == {"humaneval_bpb": pytest.approx(total / np.log(2) / size, rel=1e-5)}


def test_the_leading_end_of_text_is_a_switch(make_trial: MakeTrial, file: Path) -> None:
    trial = make_trial("objective=causal")
    with_it, without = (
        scored(with_suite(trial, "humaneval", file, samples=0, leading_end_of_text=value)).metrics["humaneval_bpb"]
        for value in (True, False)
    )
    assert with_it != without


@pytest.mark.parametrize("arm", ["objective=causal", "objective=mixed", "objective=prefix"])
def test_infilling_suites_score_what_an_arm_can(make_trial: MakeTrial, file: Path, arm: str) -> None:
    result = scored(with_suite(make_trial(arm), "humaneval_single_line", file, samples=1, max_problems=2))
    expected = {"bpb_left"} | ({"bpb", "exact", "pass@1"} if arm == "objective=mixed" else set())
    assert set(result.metrics) == {f"humaneval_single_line_{name}" for name in expected}


def test_prompts_that_do_not_fit_lose_what_is_farthest(make_trial: MakeTrial, tmp_path: Path) -> None:
    long = [{**row, "prompt": "# far away\n" * 90 + row["prompt"]} for row in ROWS]
    file = write_problems(tmp_path / "long.jsonl", long)
    for arm, name in (("objective=prefix", "humaneval"), ("objective=mixed", "humaneval_single_line")):
        result = scored(with_suite(make_trial(arm), name, file, samples=1, max_new_tokens=1000))
        assert all(np.isfinite(value) for value in result.metrics.values())


def test_more_problems_hold_the_fewer(make_trial: MakeTrial, file: Path) -> None:
    trial = make_trial("objective=causal")
    found = [
        set(scored(with_suite(trial, "humaneval", file, samples=0, max_problems=count)).documents["document"])
        for count in (1, 2, None)
    ]
    assert [len(names) for names in found] == [1, 2, 3]
    assert found[0] < found[1] < found[2]


def _score_until_killed(trial: TrialConfig, stem: Path, after: int) -> None:
    append = SampleFile.append

    def append_and_die(self: SampleFile, samples: Any) -> None:
        nonlocal after
        append(self, samples)
        after -= 1
        if after == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    SampleFile.append = append_and_die  # type: ignore[method-assign]
    scored(trial, SuiteRun(stem))


def test_a_killed_run_continues_and_writes_nothing_twice(make_trial: MakeTrial, file: Path, tmp_path: Path) -> None:
    trial = with_suite(make_trial("objective=causal"), "humaneval", file, samples=3)
    whole = scored(trial, SuiteRun(tmp_path / "whole"))
    for after in (2, 5):
        process = multiprocessing.get_context("fork").Process(
            target=_score_until_killed, args=(trial, tmp_path / "killed", after)
        )
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    resumed = scored(trial, SuiteRun(tmp_path / "killed"))
    pd.testing.assert_frame_equal(resumed.documents, whole.documents)
    lines = {name: (tmp_path / f"{name}.samples.jsonl").read_text().splitlines() for name in ("whole", "killed")}
    assert len(lines["killed"]) == len(set(lines["killed"])) == 9
    assert sorted(lines["killed"]) == sorted(lines["whole"])


def test_nothing_is_written_where_no_sandbox_holds(
    make_trial: MakeTrial, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "level_here", lambda: choice.first_level([]))
    with pytest.raises(FailureError, match="none works here"):
        scored(with_suite(make_trial("objective=causal"), "humaneval", file), SuiteRun(tmp_path / "none"))
    assert not list(tmp_path.glob("none*"))


def test_a_file_counts_by_its_content(make_trial: MakeTrial, file: Path, tmp_path: Path) -> None:
    trial = make_trial()
    moved = write_problems(tmp_path / "moved.jsonl")
    other = write_problems(tmp_path / "other.jsonl", ROWS[:2])
    ids = [suite_ids(with_suite(trial, "humaneval", path))["humaneval"] for path in (file, moved, other)]
    assert ids[0] == ids[1] != ids[2]


def test_problems_of_their_own_have_no_validation_split(make_trial: MakeTrial, file: Path, shards: Shards) -> None:
    trial = make_trial("evaluation=bits_per_byte")
    with_programs = replace(
        trial,
        evaluation=replace(
            trial.evaluation,
            suites={**trial.evaluation.suites, **with_suite(trial, "humaneval", file).evaluation.suites},
        ),
    )
    assert validation_id(with_programs) == validation_id(trial)
    model = build_model(trial, trial.tokenizer.vocab_size).eval()
    names = Evaluator(with_programs, shards).validation_summary(model)
    assert not any(name.startswith("humaneval") for name in names)


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("humaneval", {"samples": 5, "temperature": 0.0}, "samples=5 at temperature=0 are one text, 5 times. Type"),
        (
            "mbpp",
            {"file": None},
            r"file=null: no package has this benchmark. Fetch mbpp\.jsonl .* type evaluation\.suit",
        ),
        ("humaneval_random_span", {"file": None}, r"Fetch HumanEval-RandomSpanInfilling\.jsonl\.gz"),
        ("humaneval", {"file": "nowhere.jsonl"}, r"nowhere\.jsonl: there is no such file"),
        ("humaneval", {"top_p": 0.0}, "top_p=0.0: "),
    ],
)
def test_wrong_parameters_are_rejected(
    make_trial: MakeTrial, file: Path, name: str, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        suite_ids(with_suite(make_trial(), name, file, **changed))


def test_every_benchmark_is_registered() -> None:
    names = {name for name, suite in SUITES.items() if not suite.reads_corpus}
    programs = {"humaneval", "humaneval_single_line", "humaneval_multi_line", "humaneval_random_span", "mbpp"}
    assert names == programs | {"boolq", "defect_detection", "lambada", "lm_eval", "piqa", "xsum"}
