"""Tasks of lm-evaluation-harness on our models: what is scored, refused and kept."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ablate.config.trial import TrialConfig
from ablate.data.tokens.shards import open_shards
from ablate.errors import FailureError, UsageError
from ablate.evaluation import lm_eval_tasks
from ablate.evaluation.evaluator import Evaluator, SuiteResult
from ablate.evaluation.lm_eval_tasks import HarnessTasks
from ablate.evaluation.suite import scored_names, suite_ids
from ablate.evaluation.suite_run import SuiteRun
from ablate.grid.declaration import check_metric
from ablate.model.build import build_model
from tests.support.trials import MakeTrial
from tests.unit.test_questions import bits_one_by_one

ROWS: list[dict[str, Any]] = [
    {"q": "open it", "a": ["pull", "push hard"], "right": 1},
    {"q": "close it", "a": ["push", "no"], "right": 0},
]
COMMON = "dataset_path: json\ndataset_kwargs: {{data_files: {{test: {file}}}}}\ntest_split: test\n"
TASKS = {
    "choices": 'output_type: multiple_choice\ndoc_to_text: "Question: {{q}}\\nAnswer:"\n'
    "doc_to_choice: '{{a}}'\n"
    "doc_to_target: right\nmetric_list: [{metric: acc}, {metric: acc_norm}]\n",
    "whole": "output_type: loglikelihood_rolling\ndoc_to_text: ''\ndoc_to_target: '{{q}}'\n"
    "metric_list: [{metric: bits_per_byte}]\n",
    "written": "output_type: generate_until\ndoc_to_text: '{{q}}'\ndoc_to_target: '{{q}}'\n"
    "generation_kwargs: {until: ['.'], max_gen_toks: 4}\nmetric_list: [{metric: exact_match}]\n",
    "unsafe": "unsafe_code: true\noutput_type: generate_until\ndoc_to_text: '{{q}}'\ndoc_to_target: '{{q}}'\n"
    "metric_list: [{metric: exact_match}]\n",
    "other": "output_type: loglikelihood\ndoc_to_text: '{{q}}'\ndoc_to_target: ' x'\n"
    "metric_list: [{metric: perplexity}]\n",
}


@pytest.fixture(scope="module")
def include(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tasks on a local file."""
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    for name, text in TASKS.items():
        (folder / f"{name}.yaml").write_text(f"task: {name}\n{COMMON.format(file=folder / 'rows.jsonl')}{text}")
    return folder


def with_tasks(trial: TrialConfig, include: Path | None, *tasks: str, **changed: Any) -> TrialConfig:
    parameters = {"tasks": list(tasks), "include": include and str(include), "shots": None, "max_documents": None}
    suites = {"lm_eval": parameters | {"leading_end_of_text": True} | changed}
    return replace(trial, evaluation=replace(trial.evaluation, suites=suites))


def scored(trial: TrialConfig, run: SuiteRun | None = None) -> SuiteResult:
    """Score a model with its initial weights."""
    pytest.importorskip("lm_eval", reason="needs the extra lm_eval")
    model = build_model(trial, trial.tokenizer.vocab_size).eval()
    evaluator = Evaluator(trial, open_shards(trial))
    [result] = evaluator.score(model, suite_ids(trial).values(), lambda suite: run or SuiteRun()).values()
    return result


@pytest.fixture
def trial(make_trial: MakeTrial) -> TrialConfig:
    return make_trial("objective=causal", "scale.context_tokens=96", "scale.window_tokens=96")


def test_choices_are_scored_per_document_like_our_own_suites(trial: TrialConfig, include: Path) -> None:
    result = scored(with_tasks(trial, include, "choices"))
    table = result.documents
    assert set(table["metric"]) == {f"lm_eval_{name}" for name in ("acc", "acc_norm", "margin", "bpb")}
    assert set(table["source"]) == {"choices"}
    first = table[table["document"].str.startswith("0/")].set_index("metric")
    prompt = "Question: open it\nAnswer:"
    wrong, right = (bits_one_by_one(trial, prompt, f" {answer}") for answer in ROWS[0]["a"])
    assert first.loc["lm_eval_margin", "amount"] == pytest.approx(wrong - right, rel=1e-3)
    assert first.loc["lm_eval_bpb", "amount"] == pytest.approx(right, rel=1e-4)
    assert first.loc["lm_eval_acc", "amount"] == float(wrong > right)
    assert result.metrics["lm_eval_acc/choices"] == result.metrics["lm_eval_acc"]
    assert set(result.conditions) == {"lm_eval"}


def test_whole_texts_are_scored_by_their_bytes(trial: TrialConfig, include: Path) -> None:
    result = scored(with_tasks(trial, include, "whole"))
    bits = sum(bits_one_by_one(trial, "", row["q"]) for row in ROWS)
    assert result.metrics["lm_eval_bits_per_byte"] == pytest.approx(bits / sum(len(row["q"]) for row in ROWS), rel=1e-4)


def test_texts_are_written_once(trial: TrialConfig, include: Path, tmp_path: Path) -> None:
    run = SuiteRun(tmp_path / "evaluations" / "abc")
    first = scored(with_tasks(trial, include, "written"), run)
    lines = (tmp_path / "evaluations" / "abc.samples.jsonl").read_text()
    assert len(lines.splitlines()) == 2
    again = scored(with_tasks(trial, include, "written"), run)
    pd.testing.assert_frame_equal(again.documents, first.documents)
    assert (tmp_path / "evaluations" / "abc.samples.jsonl").read_text() == lines


def test_cut_prompts_are_counted(make_trial: MakeTrial, include: Path) -> None:
    small = make_trial("objective=prefix", "scale.window_tokens=16", "scale.context_tokens=16")
    result = scored(with_tasks(small, include, "choices"))
    assert result.conditions["cut_prompts"] == "4 of 4"
    assert all(map(math.isfinite, result.metrics.values()))


def test_tasks_are_sources_of_their_own(trial: TrialConfig, include: Path) -> None:
    result = scored(with_tasks(trial, include, "choices", "written", max_documents=1))
    assert set(result.documents.groupby("source")["document"].nunique()) == {1}
    assert {"lm_eval_acc/choices", "lm_eval_exact_match/written"} <= set(result.metrics)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("unsafe", "tasks: unsafe runs programs that the model wrote, without a sandbox; leave it out"),
        ("choice", r"lm_eval:choice: no such task\. Did you mean choices\?"),
        ("other", r"lm_eval:other: is scored by perplexity.* Allowed are tasks with acc, acc_norm, exact_match"),
    ],
)
def test_tasks_that_cannot_be_scored_are_refused(
    trial: TrialConfig, include: Path, task: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its own index of thousands of files is read for half a minute.
    small = pytest.importorskip("lm_eval.tasks", reason="needs the extra lm_eval").TaskManager
    manager = small(include_path=str(include), include_defaults=False)
    monkeypatch.setattr(HarnessTasks, "_manager", lambda self: manager)
    with pytest.raises(UsageError, match=message):
        scored(with_tasks(trial, include, task))


def test_our_programs_are_named_in_place_of_theirs(make_trial: MakeTrial) -> None:
    with pytest.raises(UsageError, match=r"humaneval_plus runs programs .* without a sandbox; type suites=humaneval,"):
        suite_ids(with_tasks(make_trial(), None, "humaneval_plus"))


def test_without_the_package_the_message_says_how_to_install_it(
    make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lm_eval_tasks, "PACKAGE", "no-such-package")
    with pytest.raises(FailureError, match=r"needs the package .* pip install -e '\.\[lm_eval\]'"):
        suite_ids(with_tasks(make_trial(), None, "arc_easy"))


def test_own_tasks_count_by_their_content(
    make_trial: MakeTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ablate.evaluation.suites.lm_eval.version", lambda: "1")
    ids = []
    for name, text in (("a", "x"), ("b", "x"), ("c", "y")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "task.yaml").write_text(text)
        ids.append(suite_ids(with_tasks(make_trial(), tmp_path / name, "task"))["lm_eval"])
    assert ids[0] == ids[1] != ids[2]
    with pytest.raises(UsageError, match=r"include=.*none: there is no such folder"):
        suite_ids(with_tasks(make_trial(), tmp_path / "none", "task"))


def test_a_lesson_may_name_a_task_s_metric(make_trial: MakeTrial) -> None:
    trial = with_tasks(make_trial(), None, "arc_easy", "piqa")
    assert {"lm_eval_acc", "lm_eval_acc/arc_easy", "lm_eval_margin/piqa"} <= set(scored_names(trial))
    check_metric("lesson.primary_metric", "lm_eval_acc/piqa", {"causal": trial})
    with pytest.raises(UsageError, match="lm_eval_acc/boolq: no such metric"):
        check_metric("lesson.primary_metric", "lm_eval_acc/boolq", {"causal": trial})
