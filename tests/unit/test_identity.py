import pytest

from ablate.config import Kind
from ablate.grid.expand import default_container
from ablate.identity import evaluation_id, kind_of, semantic, trial_id
from ablate.parsing import composed_from_container, trial_from_container, trial_to_container
from tests.conftest import MakeTrial

# An id here changes only on purpose: with a default, a definition or a code version. Then every ledger starts anew.
GOLDEN = {
    "objective=causal": "4cc4ef8bd1da",
    "objective=prefix": "8d0706fc8945",
    "objective=mixed": "f3969eb7c3e2",
    "scale=4m": "d2ce302e7145",
}


def default_id(*overrides: str) -> str:
    return trial_id(composed_from_container(default_container(*overrides)).trial)


@pytest.mark.parametrize("override", GOLDEN)
def test_golden_ids(override: str) -> None:
    assert default_id(override) == GOLDEN[override]


@pytest.mark.parametrize(
    "change",
    [
        "hardware.threads_per_trial=2",
        "hardware.micro_batch_rows=2",
        "hardware.parallel_trials=7",
        "tracking=none",
        "tracking.log_every_steps=3",
        "scale.activation_checkpointing=true",
        "cache_dir=/elsewhere",
        "runs_dir=/elsewhere",
        "replicates=5",
        "lesson.smallest_effect=0.5",
        "evaluation.passage_bytes=100",
        "evaluation.tune_evaluations=9",
        "budget.train_tokens=4.2e5",
        "mixture.weights.code=1 mixture.weights.english=1",
        "architecture=causal_decoder",
    ],
)
def test_what_changes_no_result_changes_no_id(change: str) -> None:
    assert default_id(*change.split()) == default_id()


@pytest.mark.parametrize(
    "change",
    [
        "seed=1",
        "init_seed=1",
        "data_seed=1",
        "precision=bf16",
        "compile=true",
        "budget=smoke",
        "budget.matched_on=flops",
        "optimizer.learning_rate=1e-3",
        "schedule.final_share=0.5",
        "mixture.weights.code=0.4",
        "mixture.document_mask=false",
        "tokenizer.entries=5000",
        "scale.window_tokens=200",
        "corpus.test_share=0.2",
        "objective=prefix",
        "block.rotary_share=1.0",
    ],
)
def test_what_changes_the_result_changes_the_id(change: str) -> None:
    assert default_id(change) != default_id()


def test_regions_make_architectures_differ() -> None:
    assert default_id("objective=prefix", "architecture=causal_decoder") != default_id("objective=prefix")


def test_fixed_points_are_one_trial() -> None:
    none = ["objective.tasks.prefix.share_min=0.0", "objective.tasks.prefix.share_max=0.0"]
    prefix = default_id("objective=prefix", *none)
    assert prefix == default_id("objective=causal")
    assert prefix == default_id("objective=prefix", "architecture=causal_decoder", *none)
    never = ["objective.tasks.causal.probability=1.0", "objective.tasks.span_corruption.probability=0.0"]
    assert default_id("objective=mixed", *never) == default_id("objective=causal")


def test_evaluation_has_an_id_of_its_own(make_trial: MakeTrial) -> None:
    trial, other = make_trial(), make_trial("evaluation.passage_bytes=60")
    assert trial_id(trial) == trial_id(other)
    assert evaluation_id(trial) != evaluation_id(other)
    assert evaluation_id(trial) == evaluation_id(make_trial("evaluation.rows_per_batch=2", "objective=prefix"))


def test_a_frozen_config_is_the_trial_again(make_trial: MakeTrial) -> None:
    trial = make_trial("objective=mixed")
    assert trial_from_container(trial_to_container(trial)) == trial


def test_marks_are_found(make_trial: MakeTrial) -> None:
    trial = make_trial()
    assert kind_of(type(trial), "hardware") is Kind.OPERATIONAL
    assert kind_of(type(trial.scale), "activation_checkpointing") is Kind.OPERATIONAL
    assert kind_of(type(trial.scale), "width") is None
    assert not {"hardware", "tracking", "evaluation", "cache_dir"} & set(semantic(trial))
