"""What a search space suggests and rejects, and its corners."""

from typing import Any

import numpy as np
import optuna
import pytest
from scipy import stats

from ablate.config.parse import tuning_from_container
from ablate.config.tuning import DimensionConfig
from ablate.errors import UsageError
from ablate.tuning.space import MISSING, Space, check_key
from tests.support.tunings import SWEEP

ARM = {"objective": "causal", "optimizer.learning_rate": 6e-3}


def lookup(key: str) -> Any:
    return ARM.get(key, MISSING)


def space(**dimensions: dict[str, Any]) -> Space:
    return Space.of({key.replace("__", "."): DimensionConfig(**config) for key, config in dimensions.items()})


def drawn(of: Space, number: int, seed: int = 0) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [of.suggest(study.ask(), lookup) for _ in range(number)]


def test_each_kind_of_dimension_stays_inside() -> None:
    of = space(
        a__rate={"low": 1e-4, "high": 1e-1, "log": True},
        a__share={"low": 0.0, "high": 1.0, "step": 0.25},
        a__layers={"low": 1, "high": 4},
        a__kind={"choices": ("x", 3, None)},
    )
    values = drawn(of, 200)
    rates = np.array([point["a.rate"] for point in values], float)
    assert ((rates >= 1e-4) & (rates <= 1e-1)).all()
    # Uniform in the logarithm: a third in each decade.
    assert 40 < (rates < 1e-3).sum() < 95
    assert {point["a.share"] for point in values} == {0.0, 0.25, 0.5, 0.75, 1.0}
    assert {point["a.layers"] for point in values} == {1, 2, 3, 4}
    assert all(type(point["a.layers"]) is int for point in values)
    assert {point["a.kind"] for point in values} == {"x", 3, None}


@pytest.mark.parametrize("parts", [2, 3, 5])
def test_weights_are_uniform_on_the_simplex(parts: int) -> None:
    names = tuple("abcde"[:parts])
    values = drawn(space(w={"simplex": names}), 2000)
    weights = np.array([[point[f"w.{name}"] for name in names] for point in values])
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-3)
    for place in range(parts):
        # Each share of a uniform point on the simplex is Beta(1, parts - 1), the last as well as the first.
        assert stats.kstest(weights[:, place], stats.beta(1, parts - 1).cdf).pvalue > 0.001, place


def test_a_simplex_of_two_is_drawn_as_the_first_share_and_keeps_the_least() -> None:
    of = space(w={"simplex": ("code", "english"), "least": 0.1})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        values = of.suggest(trial, lookup)
        assert list(trial.params) == ["w.code"]
        assert values["w.code"] == pytest.approx(0.1 + 0.8 * trial.params["w.code"], abs=1e-4)
        assert min(map(float, map(str, values.values()))) >= 0.1


def test_a_dimension_with_when_comes_after_its_parent_and_only_where_it_is_active() -> None:
    of = space(
        infill__rate={"low": 0.1, "high": 1.0, "when": {"infill": ("psm", "joint")}},
        infill={"choices": ("none", "psm", "joint"), "when": {"objective": "causal"}},
        never={"low": 0.0, "high": 1.0, "when": {"objective": ("mixed", "prefix")}},
    )
    values = drawn(of, 60)
    assert all(("infill.rate" in point) == (point["infill"] != "none") for point in values)
    assert {point["infill"] for point in values} == {"none", "psm", "joint"}
    assert not any("never" in point for point in values)


def test_a_resumed_trial_keeps_its_values() -> None:
    of = space(a={"low": 0.0, "high": 1.0}, b={"low": 0.0, "high": 1.0})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    first = study.ask()
    # Killed after the first of two.
    half = first.suggest_float("a", 0.0, 1.0)
    again = optuna.Trial(study, first._trial_id)
    values = of.suggest(again, lookup)
    assert values["a"] == pytest.approx(half, abs=1e-4)
    assert of.suggest(optuna.Trial(study, first._trial_id), lookup) == values


def test_corners_are_each_end_and_each_choice() -> None:
    of = space(
        rate={"low": 1.0, "high": 2.0},
        infill={"choices": ("none", "psm")},
        share={"low": 0.0, "high": 0.5, "when": {"infill": "psm"}},
        w={"simplex": ("code", "english"), "least": 0.25},
    )
    corners = [values for _, values in of.corners(lookup)]
    first: dict[str, Any] = {"rate": 1.0, "infill": "none", "w.code": 0.75, "w.english": 0.25}
    assert corners[0] == first
    assert first | {"rate": 2.0} in corners
    # Both ends of a dimension with `when`, with its parent at the required value.
    assert [values for key, values in of.corners(lookup) if key == "share"] == [
        first | {"infill": "psm", "share": end} for end in (0.0, 0.5)
    ]
    assert first | {"w.code": 0.25, "w.english": 0.75} in corners
    assert all("share" not in corner or corner["infill"] == "psm" for corner in corners)


def test_grid_points() -> None:
    of = space(
        rate={"low": 1e-4, "high": 1e-1, "log": True},
        share={"low": 0.0, "high": 1.0, "step": 0.1},
        layers={"low": 1, "high": 3},
        kind={"choices": ("x", "y")},
    )
    points = {key: values for dimension in of.dimensions for key, values in dimension.grid(4).items()}
    assert points["rate"] == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1])
    assert points["rate"][0] >= 1e-4
    assert points["rate"][-1] <= 1e-1, "not past the end by a rounding"
    assert points["share"] == pytest.approx([0.1 * place for place in range(11)])
    assert points["layers"] == [1, 2, 3]
    assert points["kind"] == ["x", "y"]


WRONG = [
    ({"low": 2.0, "high": 1.0}, "low=2 must be below high=1."),
    ({"low": 1.0, "high": 1.0}, "low=1 must be below high=1."),
    ({"low": 0.0, "high": 1.0, "log": True}, "log: true needs low above 0, and it is 0."),
    ({"low": 0.1, "high": 1.0, "log": True, "step": 0.1}, "step=0.1 goes with log: false."),
    ({"low": 0.1, "high": 1.0, "step": 0.0}, "step=0 must be above 0."),
    ({"low": 1, "high": 4, "step": 0.5}, "write 1.0 and 4.0."),
    ({"low": 1.0}, "takes one of {low: 1e-4"),
    ({"low": 1.0, "high": 2.0, "choices": ("a",)}, "takes one of {low: 1e-4"),
    ({}, "takes one of {low: 1e-4"),
    ({"choices": ("a",), "log": True}, "choices have no scale"),
    ({"simplex": ("a", "b"), "least": 0.5}, "least=0.5 for 2 parts leaves nothing to distribute."),
]


@pytest.mark.parametrize(("config", "message"), WRONG)
def test_a_wrong_dimension_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        space(optimizer__learning_rate=config)
    assert str(error.value).startswith("hydra.sweeper.space.optimizer.learning_rate: ")
    assert message in str(error.value)


def test_a_dimension_that_is_never_active_has_no_corner_and_one_that_can_never_be_is_refused() -> None:
    of = space(a={"low": 0.0, "high": 1.0, "when": {"objective": "mixed"}}, b={"low": 0.0, "high": 1.0})
    assert {key for key, _ in of.corners(lookup)} == {"b"}
    with pytest.raises(UsageError, match=r"space.a.when.b: psmm is none of its choices. Did you mean psm?"):
        space(a={"low": 0.0, "high": 1.0, "when": {"b": "psmm"}}, b={"choices": ("none", "psm")})


def test_dimensions_that_depend_on_each_other_are_refused() -> None:
    with pytest.raises(UsageError, match="a and b depend on each other"):
        space(
            a={"low": 0.0, "high": 1.0, "when": {"b": 1}},
            b={"choices": (1, 2), "when": {"a": 0.5}},
        )


def test_an_unknown_key_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        UsageError, match=r"optimizer.learning_rat: the arm causal has no such key. Did you mean optimizer"
    ):
        check_key("optimizer.learning_rat", list(ARM), "causal")


def test_an_unknown_part_of_a_dimension_is_refused() -> None:
    sweep = SWEEP | {"space": {"optimizer.learning_rate": {"lo": 1.0, "high": 2.0}}}
    with pytest.raises(UsageError, match=r"space.optimizer.learning_rate.lo: unknown key. Did you mean low?"):
        tuning_from_container(sweep)
    with pytest.raises(UsageError, match=r'hydra.sweeper.sampler="bayes": should be'):
        tuning_from_container(sweep | {"space": {}, "sampler": "bayes"})
