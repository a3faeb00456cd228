"""Which arms a command makes: products, zips, exclusions; composed as Hydra would, one by one."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig

from ablate import CONF
from ablate.errors import UsageError
from ablate.grid.axis import Axis, combinations
from ablate.grid.compose import Composer, container_of
from ablate.grid.expand import Expanded, default_container, expand
from tests.support import trials

Loaded = tuple[ConfigLoader, DictConfig]


@pytest.fixture(scope="module")
def loaded() -> Iterator[Loaded]:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        yield loader, loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN)


def axes_of(loader: ConfigLoader, words: list[str]) -> list[Axis]:
    return [Axis.of(override) for override in OverridesParser.create(config_loader=loader).parse_overrides(words)]


def grid(loaded: Loaded, *words: str, **shape: Any) -> Expanded:
    return expand(*loaded, list(words), is_grid=True, say=lambda text: None, **shape)


def labels(loaded: Loaded, *words: str, **shape: Any) -> list[str]:
    return [arm.label for arm in grid(loaded, *words, **shape).arms]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["objective=causal,mixed", "optimizer.learning_rate=1e-3,2e-3", "budget=smoke"],
        ["scale=demo,4m", "scale.n_layers=2,3", "lesson.question='a, b'"],
        ["precision=fp32,bf16", "compile=true,false", "lesson.question=null"],
        ["objective=mixed", "objective.tasks.causal.probability=0.5,0.25", "++optimizer.eps=1e-7,1e-8"],
        ["mixture.weights={code:1,english:1},{code:2}", "mixture.document_mask=true,false"],
        ["evaluation.val_evaluations=1,2", "tracking.project='x y',z"],
        ["hardware={threads_per_trial:2},{micro_batch_rows:4}", "hardware.threads_per_trial=3"],
    ],
)
def test_arms_are_composed_as_hydra_would(loaded: Loaded, words: list[str]) -> None:
    loader, master = loaded
    axes = axes_of(loader, words)
    composer = Composer(loader, master, axes)
    # Backwards as well: what one arm sets must not stay for the next.
    every = [*combinations(axes, []), *reversed(list(combinations(axes, [])))]
    for chosen in every:
        overrides = [axis.overrides[index] for axis, index in zip(axes, chosen, strict=True)]
        assert container_of(composer.arm(chosen)[0]) == container_of(loader.load_sweep_config(master, overrides))


@pytest.mark.parametrize(
    "words",
    [
        ["objective=mixed", "scale.d_model=64", "init_from='22292e012950'", "optimizer.learning_rate=1e-3"],
        ["+mixture.epochs=2", "evaluation=[bits_per_byte]", "evaluation.suites.bits_per_byte.passage_bytes=60"],
    ],
)
def test_trials_of_the_tests_are_composed_as_hydra_would(words: list[str]) -> None:
    assert trials.container_of(*words) == default_container(*words)


def test_values_cost_no_composing(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    loader, _ = loaded
    calls = []
    load = loader.load_sweep_config

    def counted(master: DictConfig, overrides: list[str]) -> DictConfig:
        calls.append(overrides)
        return load(master, overrides)

    monkeypatch.setattr(loader, "load_sweep_config", counted)
    assert len(labels(loaded, "objective=causal,mixed", "optimizer.learning_rate=1e-3,2e-3,3e-3")) == 6
    assert len(calls) == 2


def product(sizes: Sequence[int], zips: Sequence[Sequence[str]] = ()) -> list[tuple[int, ...]]:
    names = "abcdef"
    axes = [
        Axis(name, tuple(map(str, range(size))), tuple(f"{name}={index}" for index in range(size)))
        for name, size in zip(names, sizes, strict=False)
    ]
    return list(combinations(axes, zips))


def test_the_last_axis_varies_fastest() -> None:
    assert product([2, 1, 2]) == [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1)]
    assert product([]) == [()]


def test_zipped_axes_vary_together() -> None:
    assert product([2, 2, 2], [["a", "c"]]) == [(0, 0, 0), (0, 1, 0), (1, 0, 1), (1, 1, 1)]
    assert product([2, 2, 2], [["c", "a"]]) == product([2, 2, 2], [["a", "c"]]), "in whichever order they are named"
    assert product([2, 2, 3, 3], [["a", "b"], ["d", "c"]]) == [(a, a, c, c) for a in range(2) for c in range(3)]


def test_zip_and_exclude_from_a_command(loaded: Loaded) -> None:
    words = ["objective=prefix,mixed", "architecture=prefix_decoder,causal_decoder"]
    assert labels(loaded, *words, exclude=[{"architecture": "causal_decoder", "objective": "mixed"}]) == [
        "prefix / prefix_decoder",
        "prefix / causal_decoder",
        "mixed / prefix_decoder",
    ]
    assert labels(loaded, *words, zips=[["objective", "architecture"]]) == [
        "prefix / prefix_decoder",
        "mixed / causal_decoder",
    ]
    assert labels(loaded, *words, exclude=[{"objective": ["prefix", "causal"]}]) == [
        "mixed / prefix_decoder",
        "mixed / causal_decoder",
    ]


@pytest.mark.parametrize(
    ("words", "looks"),
    [
        ([], (4, 5, 6, 8, 10, 12)),
        (["replicates=3"], (3,)),
        (["replicates=5", "max_replicates=8"], (5, 6, 8)),
        (["max_replicates=6"], (4, 5, 6)),
        (["max_replicates=2"], (2,)),
        (["seed=0,1,2"], (3,)),
    ],
)
def test_a_grid_has_four_seeds_and_looks_unless_it_says_how_many(
    loaded: Loaded, words: list[str], looks: tuple[int, ...]
) -> None:
    expanded = grid(loaded, "objective=causal,mixed", *words)
    assert expanded.looks == looks
    assert len(expanded.seeds) == looks[-1]


def test_a_pattern_sees_what_is_not_swept(loaded: Loaded) -> None:
    rates = "optimizer.learning_rate=1e-3,2e-3"
    assert labels(loaded, rates, exclude=[{"budget": "demo", "optimizer.learning_rate": 0.002}]) == [
        "learning_rate=0.001"
    ]
    assert len(labels(loaded, rates, exclude=[{"budget": "smoke", "optimizer.learning_rate": 0.002}])) == 2
    assert labels(loaded, "scale=demo,4m", exclude=[{"scale.d_model": 192}]) == ["demo"]


def test_what_is_left_out_need_not_be_possible(loaded: Loaded) -> None:
    words = ["scale.d_model=128,96", "scale.n_heads=4,5"]
    with pytest.raises(UsageError, match="must be a multiple"):
        grid(loaded, *words)
    assert labels(loaded, *words, exclude=[{"scale.n_heads": 5}]) == [
        "d_model=128 / n_heads=4",
        "d_model=96 / n_heads=4",
    ]


def test_a_pattern_that_leaves_nothing_out_is_reported(loaded: Loaded) -> None:
    messages: list[str] = []
    expand(*loaded, ["budget=smoke"], is_grid=True, exclude=[{"budget": "demo", "scale": "4m"}], say=messages.append)
    assert messages == ["hydra.sweeper.exclude: this pattern matches no arm: {budget: demo, scale: 4m}"]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"exclude": [{"objektive": "mixed"}]}, "objektive: unknown key. Did you mean objective?"),
        ({"exclude": [{"objective": "mixd"}]}, "objective: mixd: no such choice. Did you mean mixed?"),
        ({"exclude": [{"objective": ["mixed", "prefix"]}]}, "leaves out every arm"),
        ({"exclude": [{"seed": 1}]}, "all arms have the same seeds, so they cannot be excluded"),
        ({"exclude": ["mixed"]}, "'mixed' is not a pattern. Write e.g."),
        (
            {"zips": [["objective", "scale"]]},
            "scale does not have several values. Allowed: budget.train_tokens, objective.",
        ),
        ({"zips": [["objective"]]}, "takes at least two keys"),
        ({"zips": [["objective", "objective"]]}, "objective is zipped twice"),
        ({"zips": [["objective", "seed"]]}, "every arm gets the same seeds, so seed can't be zipped"),
        ({"zips": [["objective", "budget.train_tokens"]]}, "objective has 2, budget.train_tokens has 3."),
    ],
)
def test_a_wrong_shape_is_refused(loaded: Loaded, shape: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        grid(loaded, "objective=prefix,mixed", "budget.train_tokens=1000,2000,3000", "seed=0,1", **shape)
    assert message in str(error.value)
