from collections.abc import Iterator
from dataclasses import is_dataclass, replace
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

from ablate.config.data import StageConfig
from ablate.config.fields import Kind
from ablate.config.parse import composed_from_container, trial_from_container, trial_to_container
from ablate.evaluation.suite import suite_ids
from ablate.identity import differences, kind_of, kind_of_key, semantic, trial_id
from tests.support.trials import MakeTrial, container_of

# An id here changes only on purpose: with a default, a definition or a code version. Then every ledger starts anew.
GOLDEN = {
    "objective=causal": "5efe20c55adc",
    "objective=prefix": "3cfc2e88b8d7",
    "objective=mixed": "16919f7177d5",
    "scale=4m": "4edebd75e6fb",
}


@cache
def default_id(*overrides: str) -> str:
    return trial_id(composed_from_container(container_of(*overrides)).trial)


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
        "scale.activation_checkpointing=selective",
        "scale.activation_checkpointing=true",
        "cache_dir=/elsewhere",
        "runs_dir=/elsewhere",
        "replicates=5",
        "lesson.smallest_effect=0.5",
        "evaluation.suites.bits_per_byte.passage_bytes=100",
        "evaluation.val_evaluations=9",
        "budget.train_tokens=4.2e5",
        "mixture.weights.code=1 mixture.weights.english=1",
        "mixture.stages=[{from_fraction:0.5,weights:{code:2,english:2}}]",
        "mixture.max_epochs=100",
        # Causal rows draw nothing.
        "mixture.augmentation=first_epoch",
        "cleaning=standard",
        "preparation.workers=3",
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
        "schedule.final_fraction=0.5",
        "mixture.weights.code=0.4",
        "mixture.stages=[{from_fraction:0.5,weights:{code:1}}]",
        "mixture.epochs=2",
        "mixture.packing=best_fit",
        "mixture.document_mask=false",
        "tokenizer.vocab_size=5000",
        "scale.window_tokens=200",
        "corpus.test_fraction=0.2",
        "objective=prefix",
        "block.partial_rotary_factor=1.0",
    ],
)
def test_what_changes_the_result_changes_the_id(change: str) -> None:
    assert default_id(change) != default_id()


def test_spans_make_architectures_differ() -> None:
    assert default_id("objective=prefix", "architecture=causal_decoder") != default_id("objective=prefix")


def test_fixed_points_are_one_trial() -> None:
    none = ["objective.tasks.prefix.fraction_min=0.0", "objective.tasks.prefix.fraction_max=0.0"]
    prefix = default_id("objective=prefix", *none)
    assert prefix == default_id("objective=causal")
    assert prefix == default_id("objective=prefix", "architecture=causal_decoder", *none)
    never = ["objective.tasks.causal.probability=1.0", "objective.tasks.span_corruption.probability=0.0"]
    assert default_id("objective=mixed", *never) == default_id("objective=causal")


@pytest.mark.parametrize("objective", ["causal", "prefix", "mixed", "span_corruption", "ul2"])
@pytest.mark.parametrize("infill", ["psm", "spm", "joint", "sentinel"])
def test_an_infill_that_no_row_can_show_is_none(objective: str, infill: str) -> None:
    plain = default_id(f"objective={objective}")
    assert default_id(f"objective={objective}", f"infill={infill}", "infill.rate=0") == plain
    shown = default_id(f"objective={objective}", f"infill={infill}", "infill.rate=1.0")
    assert (shown == plain) == (objective == "span_corruption"), "span corruption moves the text itself"


def test_a_prefix_share_of_0_is_causal_under_every_infill_and_inside_a_mixture() -> None:
    none = ["objective.tasks.prefix.fraction_max=0.0"]
    assert default_id("objective=prefix", "infill=psm", *none) == default_id("objective=causal", "infill=psm")
    silent = [f"objective.tasks.span_corruption.noise.ratio_{end}=0.0" for end in ("min", "max")]
    assert default_id("objective=mixed", *silent) == default_id("objective=causal")
    assert default_id("objective=mixed_prefix", *silent) == default_id("objective=causal")


def test_modes_scopes_levels_and_noise_are_the_trial_s() -> None:
    spans = "objective.tasks.span_corruption"
    ids = {
        default_id("objective=mixed"),
        default_id("objective=mixed", f"{spans}.scope=context"),
        default_id("objective=mixed", f"{spans}.noise.ratio_max=0.3"),
        default_id("objective=mixed_prefix"),
        default_id("objective=ul2"),
        default_id("objective=ul2_modes"),
        default_id("infill=psm"),
        default_id("infill=psm", "infill.level=token"),
        default_id("infill=psm", "infill.scope=context"),
        default_id("infill=joint"),
        default_id("infill=joint", "infill.spm_fraction=0.4"),
    }
    assert len(ids) == 11


def test_stages_are_the_trial_s_unless_they_change_nothing() -> None:
    last_tenth = "objective.stages=[{from_fraction:0.9,probabilities:{s:1.0}}]"
    ids = {
        default_id("objective=causal"),
        default_id("objective=stages"),
        default_id("objective=stages", last_tenth),
        default_id("objective=stages", last_tenth.replace("0.9", "0.8")),
    }
    assert len(ids) == 4
    assert default_id("objective=stages", "objective.stages=[]") == default_id("objective=causal")
    assert default_id("objective=random_loss", "objective.tasks.random_loss.loss_fraction=1") == default_id()


def test_as_many_key_heads_as_query_heads_are_one_spelling() -> None:
    assert default_id("block=llama", "block.key_value_heads=4") == default_id("block=llama")
    assert default_id("block=llama", "block.key_value_heads=2") != default_id("block=llama")


def test_a_limit_on_rotary_channels_is_a_smaller_factor_and_nothing_where_it_does_not_bind() -> None:
    assert default_id("block.max_rotary_channels=null") == default_id()
    limited = default_id("scale=3.7b")
    assert limited == default_id("scale=3.7b", "block.partial_rotary_factor=0.25", "block.max_rotary_channels=null")
    assert limited != default_id("scale=3.7b", "block.max_rotary_channels=null")


def test_weights_are_known_by_what_they_are_not_where() -> None:
    one = default_id("init_from=/some/folder", "init_from_id=sha256:1")
    assert one == default_id("init_from=/elsewhere", "init_from_id=sha256:1")
    assert one not in (default_id(), default_id("init_from=/some/folder", "init_from_id=sha256:2"))
    assert one == default_id("init_from=/some/folder", "init_from_id=sha256:1", "init_seed=7"), "nothing is drawn"


def test_a_frozen_config_is_the_trial_again(make_trial: MakeTrial) -> None:
    trial = make_trial("objective=mixed")
    assert trial_from_container(trial_to_container(trial)) == trial


def leaves(config: Any, above: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, type, value) of every field below a config, mappings as they are."""
    for name, hint in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if is_dataclass(value):
            yield from leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", hint, value


def other_value(hint: Any, value: Any) -> Any:
    """A value of the type that is not this one; None where the type has but one."""
    if get_origin(hint) is Literal:
        return next((choice for choice in get_args(hint) if choice != value), None)
    if get_origin(hint) in (Union, UnionType):
        [some, *_] = [kind for kind in get_args(hint) if kind is not type(None)]
        return {int: 3, float: 0.5, str: "f" * 64}[some] if value is None else other_value(some, value)
    others = (
        {bool: not value, int: value + 1, float: value / 2 + 0.01} if not isinstance(value, str) else {str: "f" * 64}
    )
    return others[hint]


def changed(config: Any, key: str, value: Any) -> Any:
    name, _, below = key.partition(".")
    return replace(config, **{name: changed(getattr(config, name), below, value) if below else value})


# Fields whose type has one value yet, and mappings: the latter are changed by hand in the tests above.
NAMES: dict[str, Any] = {
    "tracking.loggers": ("csv",),
    "block.max_rotary_channels": 4,
    "infill.format": "spm",
    "hardware.price_date": "2026-11-01",
    "mixture.stages": (StageConfig(0.5, {"code": 1.0}),),
    "mixture.epochs": 2.0,
    "schedule.continues_at": (100,),
    "mixture.max_epochs": {"code": 4.0},
    "evaluation.suites": {"infill": {"middles_per_source": 1, "context_bytes": 9, "middle_bytes": 9}},
    "cleaning.skip": ("binary",),
    "cleaning.licences": ("MIT",),
    "cleaning.decontaminate": ("humaneval",),
}
MAPPINGS = {
    "objective.tasks",
    "objective.stages",
    "infill.parameters",
    "mixture.weights",
    "corpus.sources",
    "preparation.parameters",
}


def test_every_field_of_the_schema_is_of_its_kind(make_trial: MakeTrial) -> None:
    """Changing an operational field changes no id, a semantic one the trial's, one of the evaluation that one's."""
    trial = make_trial("objective=prefix", "infill=psm")
    left = set()
    for key, hint, value in leaves(trial):
        other = None if key in MAPPINGS else NAMES.get(key) or other_value(hint, value)
        if other is None:
            left.add(key)
            continue
        variant, kind = changed(trial, key, other), kind_of_key(key)
        expected = (kind is None, kind is Kind.EVALUATION or key.startswith("corpus."))
        found = (trial_id(variant) != trial_id(trial), suite_ids(variant) != suite_ids(trial))
        assert found == expected, key
    assert left == MAPPINGS


def test_differences_are_told_by_their_keys() -> None:
    first, second = ({"a": {"b": value, "c": [1]}, "d": {}} for value in (1, 2))
    assert [str(found) for found in differences(first, second)] == ["a.b: 1 → 2"]
    assert differences(first, first) == []


def test_marks_are_found(make_trial: MakeTrial) -> None:
    trial = make_trial()
    assert kind_of(type(trial), "hardware") is Kind.OPERATIONAL
    assert kind_of(type(trial.scale), "activation_checkpointing") is Kind.OPERATIONAL
    assert kind_of(type(trial.scale), "d_model") is None
    assert kind_of_key("hardware.threads_per_trial") is Kind.OPERATIONAL
    assert kind_of_key("evaluation.rows_per_batch") is Kind.OPERATIONAL, "its own mark, not the group's"
    assert kind_of_key("evaluation.suites.bits_per_byte.passage_bytes") is Kind.EVALUATION
    assert kind_of_key("objective.tasks.causal.probability") is None
    assert not {"hardware", "tracking", "evaluation", "cache_dir"} & set(semantic(trial))
