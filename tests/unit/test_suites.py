"""Suites: their ids, their parameters and their registration."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from ablate.config.trial import TrialConfig
from ablate.data.tokens.shards import Shards
from ablate.errors import FailureError, UsageError
from ablate.evaluation.amount import LEAST, MOST
from ablate.evaluation.evaluator import Evaluator
from ablate.evaluation.held_out import HeldOut
from ablate.evaluation.suite import SUITES, Row, Scorer, checked_suites, suite, suite_id, suite_ids, validation_id
from ablate.evaluation.suites.bits_per_byte import passage_count
from ablate.evaluation.suites.infill import middle_count
from ablate.model.build import build_model
from ablate.records.metric import Direction, Metric
from tests.support.trials import MakeTrial

ACCURACY = Metric("accuracy", "fraction of questions answered.", "fraction", Direction.MAXIMIZE, 0.01)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers what a test adds for the length of the test."""
    monkeypatch.setattr(SUITES, "_components", dict(SUITES._components))


def with_suites(trial: TrialConfig, suites: dict[str, dict[str, Any]]) -> TrialConfig:
    return replace(trial, evaluation=replace(trial.evaluation, suites=suites))


@pytest.mark.parametrize(("name", "key"), [("infill", "middle_bytes"), ("bits_per_byte", "passage_bytes")])
def test_a_suite_s_parameters_change_its_own_id_alone(make_trial: MakeTrial, name: str, key: str) -> None:
    before, after = suite_ids(make_trial()), suite_ids(make_trial(f"evaluation.suites.{name}.{key}=60"))
    assert {name for name in before if before[name] != after[name]} == {name}


def test_adding_a_suite_changes_no_other_id(make_trial: MakeTrial) -> None:
    both, alone = suite_ids(make_trial()), suite_ids(make_trial("evaluation=bits_per_byte"))
    assert list(alone) == ["bits_per_byte"]
    assert alone["bits_per_byte"] == both["bits_per_byte"] != both["infill"]


def test_ids_follow_the_data_and_not_the_arm(make_trial: MakeTrial) -> None:
    trial = make_trial()
    assert suite_ids(trial) == suite_ids(make_trial("objective=prefix", "evaluation.rows_per_batch=2", "seed=3"))
    other_split = replace(trial, corpus=replace(trial.corpus, test_fraction=0.1))
    assert not set(suite_ids(trial).values()) & set(suite_ids(other_split).values())


def test_two_spellings_of_a_number_have_one_id(make_trial: MakeTrial) -> None:
    trial = make_trial("evaluation.suites.infill.middles_per_source=40")
    parameters = {**trial.evaluation.suites["infill"], "middles_per_source": 40.0}
    spelled = with_suites(trial, {**trial.evaluation.suites, "infill": parameters})
    assert suite_ids(spelled) == suite_ids(trial)


@pytest.mark.usefixtures("registry")
def test_a_code_version_changes_the_id(make_trial: MakeTrial) -> None:
    trial = make_trial()
    before = suite_ids(trial)
    SUITES._components["infill"] = replace(SUITES["infill"], code_version=99)
    assert suite_id(trial, "infill") != before["infill"]
    assert suite_id(trial, "bits_per_byte") == before["bits_per_byte"]


def test_the_validation_id_covers_suites_and_documents(make_trial: MakeTrial) -> None:
    variants = [
        (),
        ("evaluation=bits_per_byte",),
        ("evaluation.suites.infill.middle_bytes=60",),
        ("evaluation.val_documents_per_source=2",),
    ]
    assert len({validation_id(make_trial(*overrides)) for overrides in variants}) == len(variants)
    assert validation_id(make_trial()) == validation_id(make_trial("evaluation.val_evaluations=9"))


@pytest.mark.parametrize(
    ("suites", "message"),
    [
        ({"infil": {}}, "evaluation.suites.infil: no such suite. Did you mean infill"),
        (
            {"infill": {"middles_per_source": 1, "context_bytes": 1, "middle_byte": 1}},
            "evaluation.suites.infill.middle_byte: unknown key. Did you mean middle_bytes",
        ),
        (
            {"infill": {"middles_per_source": 0, "context_bytes": 1, "middle_bytes": 1}},
            "evaluation.suites.infill.middles_per_source=0: should be greater than 0.",
        ),
        (
            {"infill": {"middles_per_source": 1, "context_bytes": 1}},
            "evaluation.suites.infill.middle_bytes: missing; it needs a value.",
        ),
    ],
)
def test_wrong_suites_and_parameters_are_refused(
    make_trial: MakeTrial, suites: dict[str, dict[str, Any]], message: str
) -> None:
    with pytest.raises(UsageError) as error:
        checked_suites(with_suites(make_trial(), suites))
    assert message in str(error.value)


@pytest.mark.usefixtures("registry")
def test_names_of_suites_and_metrics_are_taken_once() -> None:
    def infill(held_out: HeldOut) -> Scorer:
        return lambda reader: []

    with pytest.raises(FailureError, match="The suite infill is registered twice"):
        suite(code_version=1, metrics=[ACCURACY])(infill)

    def questions(held_out: HeldOut) -> Scorer:
        return lambda reader: []

    with pytest.raises(FailureError, match="declares the metric bpb_full, which is one of bits_per_byte"):
        suite(code_version=1, metrics=[replace(ACCURACY, name="bpb_full")])(questions)
    assert "questions" not in SUITES


@pytest.mark.usefixtures("registry")
def test_rows_are_in_declared_metrics(make_trial: MakeTrial, shards: Shards) -> None:
    @suite(code_version=1, metrics=[ACCURACY])
    def questions(held_out: HeldOut, *, metric: str) -> Scorer:
        def rows(reader: object) -> Iterator[Row]:
            for source, name, text in held_out.documents(2):
                yield Row(metric, source, name, float(len(text) % 2), 1.0)

        return rows

    trial = with_suites(make_trial(), {"questions": {"metric": "accuracy"}})
    model = build_model(trial, 340).eval()
    [result] = Evaluator(trial, shards).score(model, suite_ids(trial).values()).values()
    assert set(result.metrics) == {"accuracy", "accuracy/code", "accuracy/english"}
    undeclared = with_suites(trial, {"questions": {"metric": "recall"}})
    with pytest.raises(FailureError, match="The suite questions scores recall and does not declare it"):
        Evaluator(undeclared, shards).score(model, suite_ids(undeclared).values())


def test_only_the_named_suites_are_scored(make_trial: MakeTrial, shards: Shards) -> None:
    trial = make_trial()
    model, infill_id = build_model(trial, 340).eval(), suite_id(trial, "infill")
    results = Evaluator(trial, shards).score(model, [infill_id, "another trial's"])
    assert list(results) == [infill_id]
    scored = {name.removesuffix("_clean") for name in results[infill_id].documents["metric"]}
    assert scored == {"infill_bpb_left", "infill_bpb_left_aligned", "infill_bpb_left_unaligned"}


def test_by_default_a_tenth_of_the_training_s_time_is_scored(make_trial: MakeTrial) -> None:
    """By the budget, within limits; the numbers are part of the suites' ids unless they are given."""
    free = (
        "evaluation.suites.bits_per_byte.passages_per_source=null",
        "evaluation.suites.infill.middles_per_source=null",
    )
    demo, longer = (
        make_trial(*free, "scale.window_tokens=210", "scale.context_tokens=256", f"budget.train_tokens={tokens}")
        for tokens in (420_000, 840_000)
    )
    # 126 000 tokens at a third of the cost of training tokens, in two readings of each passage, of two sources.
    assert (passage_count(demo, None), passage_count(longer, None)) == (150, 300)
    assert (middle_count(demo, None), middle_count(longer, None)) == (50, 100)
    assert passage_count(demo, 7) == middle_count(demo, 7) == 7
    assert passage_count(make_trial(*free, "budget.train_tokens=800"), None) == LEAST
    assert passage_count(make_trial(*free, "budget.train_tokens=1000000000"), None) == MOST
    assert all(suite_ids(demo)[name] != id_ for name, id_ in suite_ids(longer).items())
    given = ("evaluation.suites.bits_per_byte.passages_per_source=4", "evaluation.suites.infill.middles_per_source=4")
    assert suite_ids(make_trial(*given)) == suite_ids(make_trial(*given, "budget.train_tokens=1600"))


@pytest.mark.parametrize(("split", "expected"), [("validation", 3), ("test", 5)])
def test_the_validation_split_is_capped(make_trial: MakeTrial, shards: Shards, split: Any, expected: int) -> None:
    trial = make_trial("evaluation.val_documents_per_source=3")
    documents = list(HeldOut(trial, shards, split).documents(5))
    assert [source for source, _, _ in documents] == ["code"] * expected + ["english"] * expected
    assert [name for source, name, _ in documents if source == "code"] == [
        document.name for document in list(shards.held_out(split, "code"))[:expected]
    ]
    assert len(list(HeldOut(trial, shards, split).documents(2))) == 4
