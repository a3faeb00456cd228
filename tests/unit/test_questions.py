"""Understanding suites: what they ask, how answers are scored, and where the questions come from."""

import gzip
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from ablate.config.trial import TrialConfig
from ablate.data.tokens.shards import open_shards
from ablate.errors import FailureError, UsageError
from ablate.evaluation.evaluator import Evaluator, SuiteResult
from ablate.evaluation.held_out import HeldOut
from ablate.evaluation.questions import Answer, Question, metric_amounts
from ablate.evaluation.suite import SUITES, suite_ids
from ablate.model.build import build_model
from tests.support.scoring import nll_one_by_one
from tests.support.trials import MakeTrial

# Two rows of each suite in the hub's layout, and prompt and right answer of the first.
BENCHMARKS: dict[str, tuple[list[dict[str, Any]], str, str]] = {
    "lambada": ([{"text": "the cat sat"}, {"text": "a dog ran"}], "the cat", " sat"),
    "piqa": (
        [{"goal": "open it", "sol1": "pull", "sol2": "push hard", "label": 1}] * 2,
        "Question: open it\nAnswer:",
        " push hard",
    ),
    "boolq": (
        [{"question": "is it so", "passage": "It is so.", "answer": value} for value in (True, False)],
        "It is so.\nQuestion: is it so?\nAnswer:",
        " yes",
    ),
    "xsum": (
        [{"document": "Much news.", "summary": f"News {number}.", "id": f"{number}"} for number in range(2)],
        "Much news.\nSummary:",
        " News 0.",
    ),
    "defect_detection": (
        [{"id": number, "func": "int f() { return 0; }", "target": False} for number in range(2)],
        "int f() { return 0; }\nQuestion: Is this function defective?\nAnswer:",
        " no",
    ),
}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def with_suite(trial: TrialConfig, name: str, file: Path | None, **changed: Any) -> TrialConfig:
    parameters = {"file": file and str(file), "max_questions": None, "shots": 0, "leading_end_of_text": True}
    return replace(trial, evaluation=replace(trial.evaluation, suites={name: parameters | changed}))


def scored(trial: TrialConfig) -> SuiteResult:
    """Score a model with its initial weights."""
    model = build_model(trial, trial.tokenizer.vocab_size).eval()
    [result] = Evaluator(trial, open_shards(trial)).score(model, suite_ids(trial).values()).values()
    return result


def bits_one_by_one(trial: TrialConfig, prompt: str, answer: str) -> float:
    """Bits of an answer, from one pass per token."""
    held_out = HeldOut(trial, open_shards(trial), "test")
    prompt_T, answer_T = held_out.tokenizer.encode([prompt, answer])
    model = build_model(trial, trial.tokenizer.vocab_size).eval()
    with torch.no_grad():
        return sum(nll_one_by_one(model, held_out.prompts.continuation(prompt_T), answer_T)) / math.log(2)


def amounts(bits: list[float], *answers: str, right: int = 0) -> dict[str, float]:
    """Values of the metrics of a question whose answers have these bits."""
    question = Question("q", "", answers, right)
    found = [Answer(each, len(text), is_first_choice=False) for each, text in zip(bits, answers, strict=True)]
    return {metric: amount / units for metric, amount, units in metric_amounts(question, found)}


def test_the_likeliest_answer_is_right_and_the_margin_is_to_the_best_wrong_one() -> None:
    assert amounts([3, 5, 9], "a", "b", "c") == {"bpb": 3, "margin": 2, "acc": 1, "acc_norm": 1}
    assert amounts([3, 5, 9], "a", "b", "c", right=1) == {"bpb": 5, "margin": -2, "acc": 0, "acc_norm": 0}
    assert amounts([4, 4], "a", "b")["acc"] == 0, "a tie is no right answer"


def test_normalised_accuracy_divides_by_bytes() -> None:
    assert amounts([6, 4], "long answer", "a") == {"bpb": 6 / 11, "margin": -2, "acc": 0, "acc_norm": 1}
    assert amounts([6, 4], "long answer", "a", right=1) == {"bpb": 4, "margin": 2, "acc": 1, "acc_norm": 0}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_suite_reads_the_hub_s_layout_and_scores_what_it_declares(
    make_trial: MakeTrial, tmp_path: Path, name: str
) -> None:
    rows, prompt, answer = BENCHMARKS[name]
    trial = with_suite(
        make_trial("objective=causal", "scale.context_tokens=96", "scale.window_tokens=96"),
        name,
        write_rows(tmp_path / "rows.jsonl", rows),
    )
    result = scored(trial)
    expected = {metric.name for metric in SUITES[name].metrics}
    assert set(result.metrics) == expected
    assert result.conditions == {}
    documents = result.documents.set_index(["metric", "document"])
    assert set(documents.groupby("metric").size()) == {2}, "one row per question, so that lessons pair them"
    bits = bits_one_by_one(trial, prompt, answer)
    first = documents.loc[f"{name}_bpb"].iloc[0]
    assert first["amount"] == pytest.approx(bits, rel=1e-4)
    assert first["units"] == len(answer)


@pytest.mark.parametrize("arm", ["objective=prefix", "objective=mixed", "objective=span_corruption"])
def test_every_arm_answers(make_trial: MakeTrial, tmp_path: Path, arm: str) -> None:
    result = scored(with_suite(make_trial(arm), "boolq", write_rows(tmp_path / "rows.jsonl", BENCHMARKS["boolq"][0])))
    assert all(map(math.isfinite, result.metrics.values()))


def test_shots_stand_before_a_question_and_are_not_scored(make_trial: MakeTrial, tmp_path: Path) -> None:
    rows = BENCHMARKS["piqa"][0] * 2
    file = write_rows(tmp_path / "rows.jsonl", [row | {"goal": f"g{number}"} for number, row in enumerate(rows)])
    trial = make_trial("objective=causal", "scale.context_tokens=96", "scale.window_tokens=96")
    documents = scored(with_suite(trial, "piqa", file, shots=1)).documents.query("metric == 'piqa_bpb'")
    [shot] = {f"PIQA/{number}" for number in range(4)} - set(documents["document"])
    row = documents.iloc[0]
    text, question = (f"Question: g{name[-1]}\nAnswer:" for name in (shot, row["document"]))
    bits = bits_one_by_one(trial, f"{text} push hard\n\n{question}", " push hard")
    assert row["amount"] == pytest.approx(bits, rel=1e-4)
    with pytest.raises(UsageError, match=r"piqa\.shots=4: the file has 4 questions, .* Type .*piqa\.shots=0"):
        scored(with_suite(trial, "piqa", file, shots=4))


def test_a_prompt_that_does_not_fit_loses_its_start_and_is_counted(make_trial: MakeTrial, tmp_path: Path) -> None:
    trial, rows = make_trial("objective=causal"), BENCHMARKS["lambada"][0]
    long = [{"text": "far away " * 200 + rows[0]["text"]}, rows[1]]
    longer = [{"text": "farther away " + long[0]["text"]}, rows[1]]
    results = [
        scored(with_suite(trial, "lambada", write_rows(tmp_path / f"{number}.jsonl", each)))
        for number, each in enumerate((long, longer))
    ]
    assert [result.conditions for result in results] == [{"cut_prompts": "1 of 2"}] * 2
    pd.testing.assert_frame_equal(results[0].documents, results[1].documents)


def test_a_file_may_be_json_or_parquet_and_a_folder_that_of_the_hub(make_trial: MakeTrial, tmp_path: Path) -> None:
    rows = BENCHMARKS["boolq"][0]
    write_rows(tmp_path / "hub" / "data" / "train-00000-of-00001.parquet", rows[:1])
    paths = [
        write_rows(tmp_path / "rows.jsonl", rows),
        write_rows(tmp_path / "rows.jsonl.gz", rows),
        write_rows(tmp_path / "hub" / "data" / "validation-00000-of-00001.parquet", rows).parents[1],
    ]
    found = [scored(with_suite(make_trial(), "boolq", path)).documents for path in paths]
    for other in found[1:]:
        pd.testing.assert_frame_equal(other, found[0])


def test_data_count_by_their_content(make_trial: MakeTrial, tmp_path: Path) -> None:
    rows, trial = BENCHMARKS["boolq"][0], make_trial()
    files = [write_rows(tmp_path / name, rows) for name in ("a.jsonl", "b.jsonl", "c.jsonl.gz")]
    files.append(write_rows(tmp_path / "d.jsonl", rows[:1]))
    ids = [suite_ids(with_suite(trial, "boolq", file))["boolq"] for file in files]
    assert ids[0] == ids[1] == ids[2] != ids[3]


def test_the_hub_is_asked_once(make_trial: MakeTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked = []

    def load(*arguments: object, **named: object) -> Any:
        asked.append((*arguments, *named.values()))
        return datasets.Dataset.from_list(BENCHMARKS["boolq"][0])

    monkeypatch.setattr(datasets, "load_dataset", load)
    trial = replace(with_suite(make_trial(), "boolq", None), cache_dir=str(tmp_path))
    local = with_suite(make_trial(), "boolq", write_rows(tmp_path / "rows.jsonl", BENCHMARKS["boolq"][0]))
    assert suite_ids(trial) == suite_ids(trial)
    pd.testing.assert_frame_equal(scored(replace(trial, cache_dir=str(tmp_path))).documents, scored(local).documents)
    assert asked == [("google/boolq", None, "validation")]


def test_a_hub_out_of_reach_is_told_with_what_to_type(
    make_trial: MakeTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    def load(*_: object, **__: object) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", load)
    trial = replace(with_suite(make_trial(), "piqa", None), cache_dir=str(tmp_path))
    message = r"baber/piqa: .*no network.* type the path of a copy: evaluation\.suites\.piqa\.file=PATH"
    with pytest.raises(FailureError, match=message):
        suite_ids(trial)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(FailureError, match="package datasets, which is not installed"):
        suite_ids(trial)


def test_wrong_data_are_named(make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = make_trial()
    with pytest.raises(UsageError, match=r"none\.jsonl: there is no such file\. Give the benchmark's file"):
        suite_ids(with_suite(trial, "boolq", tmp_path / "none.jsonl"))
    with pytest.raises(UsageError, match=r"needs one file of the split validation .* and has none"):
        suite_ids(with_suite(trial, "boolq", tmp_path))
    other = write_rows(tmp_path / "other.jsonl", BENCHMARKS["piqa"][0])
    with pytest.raises(
        FailureError, match=r"other\.jsonl: a row is not a question of passages \(KeyError: 'passage'\)"
    ):
        scored(with_suite(trial, "boolq", other))
    unlabelled = write_rows(tmp_path / "test.jsonl", [BENCHMARKS["piqa"][0][0] | {"label": -1}])
    with pytest.raises(FailureError, match="answer -1 of 2 is right"):
        scored(with_suite(trial, "piqa", unlabelled))
    torn = tmp_path / "torn.parquet"
    torn.write_bytes(b"PAR1")
    with pytest.raises(FailureError, match="cannot be read as Parquet"):
        scored(with_suite(trial, "piqa", torn))
