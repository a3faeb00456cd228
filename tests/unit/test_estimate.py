"""Estimates compared with published tables and with simulations, and the verdicts that follow."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablate.lessons.contrast import Contrast, against_baseline, interactions, main_effects
from ablate.lessons.critical_values import critical_values, standard_errors
from ablate.lessons.estimate import Comparison, Estimate, compare, correlation, seeds_to_decide
from ablate.lessons.verdict import Verdict, verdict


def to_baseline(values: pd.DataFrame, looks: Sequence[int] | None = None) -> Estimate:
    contrasts = list(against_baseline([str(arm) for arm in values.index], str(values.index[0]), "m"))
    return compare(values, contrasts, 0.95, looks or [values.shape[1]])


def covers(estimate: Estimate, truth: float = 0.0) -> bool:
    return all(
        comparison.low is not None and comparison.high is not None and comparison.low <= truth <= comparison.high
        for comparison in estimate.comparisons
    )


@pytest.mark.parametrize("seeds", [2, 3, 5, 12])
def test_one_comparison_is_a_paired_t_test(seeds: int) -> None:
    baseline, arm = np.random.default_rng(0).normal(size=(2, seeds))
    comparison = to_baseline(pd.DataFrame([baseline, arm], index=["a", "b"])).comparisons[0]
    paired = stats.ttest_rel(arm, baseline).confidence_interval(0.95)
    width = paired.high - paired.low
    assert comparison.low == pytest.approx(paired.low, abs=0.02 * width)
    assert comparison.high == pytest.approx(paired.high, abs=0.02 * width)


@pytest.mark.parametrize(
    ("comparisons", "degrees", "published"),
    # Dunnett 1964 (Biometrics 20), two-sided 5%, equal groups, for noise that is known well.
    [(2, 120, 2.24), (5, 120, 2.55)],
)
def test_with_many_seeds_critical_values_are_dunnetts(comparisons: int, degrees: int, published: float) -> None:
    weights = tuple((-1.0, *(float(arm == row) for arm in range(comparisons))) for row in range(comparisons))
    [critical] = critical_values(weights, (degrees // comparisons + 1 + 60,), 0.05)
    assert critical.value == pytest.approx(published, abs=0.06)
    assert critical.value > published - 0.02


@pytest.mark.parametrize(
    "noises", [(2, 1, 1, 1), *(pytest.param(each, marks=pytest.mark.slow) for each in ((1, 1, 1, 1), (1, 2, 1, 1)))]
)
def test_intervals_cover_simultaneously_whatever_the_seed_effects(noises: tuple[float, ...]) -> None:
    """1 000 grids with large seed effects and no arm effect: all intervals cover 0 in 95% of them."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(1000):
        noise = rng.normal(size=(4, 5)) * np.array(noises)[:, None]
        covered += covers(to_baseline(pd.DataFrame(noise + rng.normal(scale=10, size=5), index=list("abcd"))))
    assert 0.93 <= covered / 1000 <= 0.97


@pytest.mark.parametrize("grids", [400, pytest.param(1000, marks=pytest.mark.slow)])
def test_looks_share_one_error(grids: int) -> None:
    """Stopping once an interval excludes 0 errs in 5% of the grids, all looks together; without spending in 8%."""
    rng = np.random.default_rng(2)
    looks, wrong, unadjusted = [3, 5, 8], 0, 0
    for _ in range(grids):
        values = pd.DataFrame(rng.normal(size=(3, 8)), index=list("abc"))
        wrong += any(not covers(to_baseline(values.iloc[:, :look], looks)) for look in looks)
        unadjusted += any(not covers(to_baseline(values.iloc[:, :look])) for look in looks)
    assert wrong / grids <= 0.065
    assert unadjusted / grids > 0.065


def test_equivalence_at_the_border_is_rarely_claimed() -> None:
    rng = np.random.default_rng(3)
    claimed = 0
    for _ in range(1000):
        values = rng.normal(size=(3, 8)) + np.array([[0.0], [2.0], [2.0]])
        claimed += any(
            verdict(comparison, 2.0, less_is_better=True) is Verdict.EQUIVALENT
            for comparison in to_baseline(pd.DataFrame(values, index=list("abc"))).comparisons
        )
    assert 0.005 < claimed / 1000 <= 0.06


def test_noise_excludes_the_seed_s_effect() -> None:
    rng = np.random.default_rng(2)
    values = pd.DataFrame(rng.normal(scale=0.5, size=(3, 60)) + rng.normal(scale=1.5, size=60), index=list("abc"))
    estimate = to_baseline(values)
    assert estimate.noise == pytest.approx(0.5, rel=0.15)
    assert estimate.correlation == pytest.approx(0.9, abs=0.05)
    assert correlation(values.to_numpy()[:1]) is None


def test_a_noisy_arm_widens_its_own_interval_alone() -> None:
    rng = np.random.default_rng(4)
    values = pd.DataFrame([rng.normal(scale=s, size=40) for s in (0.1, 0.1, 3.0)], index=["a", "quiet", "loud"])
    quiet, loud = (
        comparison.high - comparison.low
        for comparison in to_baseline(values).comparisons
        if comparison.low is not None and comparison.high is not None
    )
    assert loud > 3 * quiet


def test_standard_errors_are_shrunk_towards_the_shared_noise_and_never_below_their_own() -> None:
    own, shared = np.array([4.0, 3.0]), 3.5
    error_C = standard_errors(own, 3, np.array([1.0, 1.0]))
    moderated = (3 * shared + 2 * own) / 5
    assert moderated[0] < own[0]
    assert error_C == pytest.approx(np.sqrt(np.array([own[0], moderated[1]]) / 3))


def test_a_duplicated_arm_does_not_change_the_noise() -> None:
    table = np.random.default_rng(7).normal(size=(3, 5))
    values = pd.DataFrame(table, index=list("abc"))
    doubled = pd.DataFrame(table[[0, 1, 2, 0, 1]], index=["a", "b", "c", "again", "b again"])
    assert to_baseline(doubled).noise == pytest.approx(to_baseline(values).noise)
    assert to_baseline(doubled).comparisons[1].low == pytest.approx(to_baseline(values).comparisons[1].low)


@pytest.mark.parametrize("value", [0.0, 0.125])
def test_equal_values_have_no_interval(value: float) -> None:
    estimate = to_baseline(pd.DataFrame(np.full((2, 4), value), index=["a", "b"]))
    assert estimate.noise is None
    assert verdict(estimate.comparisons[0], 0.1, less_is_better=True) is Verdict.UNDECIDED


def test_a_comparison_that_is_constant_up_to_rounding_has_no_interval() -> None:
    table = np.random.default_rng(5).normal(size=(3, 5))
    table[1] = table[0] + 0.1
    assert np.ptp(table[1] - table[0]) > 0, "rounding"
    constant, other = to_baseline(pd.DataFrame(table, index=list("abc"))).comparisons
    assert (constant.low, constant.high, constant.margin) == (None, None, None)
    assert verdict(constant, 1.0, less_is_better=True) is Verdict.UNDECIDED
    assert other.low is not None


def test_a_comparison_that_has_stopped_keeps_the_interval_of_its_look() -> None:
    values = pd.DataFrame(np.random.default_rng(6).normal(size=(3, 8)), index=list("abc"))
    looks = [3, 5, 8]
    at_five, at_eight = to_baseline(values.iloc[:, :5], looks), to_baseline(values, looks)
    values.loc["b", 5:] = np.nan
    stopped, going_on = to_baseline(values, looks).comparisons
    assert stopped == at_five.comparisons[0]
    assert (going_on.seeds, going_on.difference) == (8, at_eight.comparisons[1].difference)


def test_equivalence_takes_less_than_the_interval_of_the_difference() -> None:
    values = pd.DataFrame(np.random.default_rng(6).normal(size=(4, 5)), index=list("abcd"))
    for comparison in to_baseline(values).comparisons:
        assert comparison.low is not None
        assert comparison.high is not None
        assert comparison.margin is not None
        assert abs(comparison.difference) < comparison.margin < max(-comparison.low, comparison.high)


@pytest.mark.parametrize(
    ("noise", "arms"),
    [
        ("another arm 10×", 3),
        pytest.param("another arm 10×", 6, marks=pytest.mark.slow),
        pytest.param("all but one are twins of the baseline", 3, marks=pytest.mark.slow),
        pytest.param("all but one are twins of the baseline", 6, marks=pytest.mark.slow),
    ],
)
def test_one_noisy_comparison_among_quiet_ones_errs_no_more_often(noise: str, arms: int) -> None:
    """Three seeds, 1 000 grids. Shrunk towards the mean over comparisons alone, 8 to 10% of them are wrong."""
    rng = np.random.default_rng(10)
    wrong = 0
    for _ in range(1000):
        values = rng.normal(size=(arms, 3))
        if noise == "another arm 10×":
            values[1] *= 10
        else:
            values[2:] = values[0] + 0.05 * values[2:]
        wrong += not covers(to_baseline(pd.DataFrame(values, index=list("abcdef")[:arms])))
    assert wrong / 1000 <= 0.07


@pytest.mark.parametrize("noisy", ["a", "b", "f"])
def test_one_noisy_arm_of_a_factorial_errs_no_more_often_with_three_seeds(noisy: str) -> None:
    """Simulated with arms at most three times as noisy, 8% of the grids were wrong."""
    options = {label: {"a": a, "b": b} for label, (a, b) in zip("abcdef", product("01", "012"), strict=True)}
    contrasts = [*main_effects(options, "m"), *interactions(options, "m")]
    weights_CA = np.array([[contrast.weights.get(arm, 0.0) for arm in options] for contrast in contrasts])
    [critical] = critical_values(tuple(map(tuple, weights_CA.tolist())), (3,), 0.05)
    noise_NAS = np.random.default_rng(11).normal(size=(20_000, len(options), 3))
    noise_NAS[:, list(options).index(noisy)] *= 10
    values_NCS = weights_CA @ noise_NAS
    errors_NC = standard_errors(values_NCS.var(axis=-1, ddof=1), 3, np.sqrt((weights_CA**2).sum(axis=1)))
    assert (np.abs(values_NCS.mean(axis=-1)) > critical.value * errors_NC).any(axis=1).mean() < 0.056


def test_one_seed_has_no_interval() -> None:
    estimate = to_baseline(pd.DataFrame([[1.0], [2.0]], index=["a", "b"]))
    assert estimate.noise is None
    assert verdict(estimate.comparisons[0], 0.1, less_is_better=True) is Verdict.UNDECIDED


def test_a_look_at_one_seed_decides_nothing_and_spends_no_error() -> None:
    values = pd.DataFrame(np.random.default_rng(9).normal(size=(2, 3)), index=["a", "b"])
    assert to_baseline(values.iloc[:, :1], [1, 2, 3]).noise is None
    assert to_baseline(values, [1, 2, 3]).comparisons == to_baseline(values, [2, 3]).comparisons


def test_a_missing_arm_removes_its_own_comparisons_alone() -> None:
    values = pd.DataFrame(np.random.default_rng(8).normal(size=(2, 5)), index=["a", "b"])
    contrasts = list(against_baseline(["a", "b", "gone"], "a", "m"))
    estimate = compare(values, contrasts, 0.95, [5])
    assert [comparison.contrast.name for comparison in estimate.comparisons] == ["b"]


def test_the_minimum_detectable_effect_is_detected_with_80_percent_power() -> None:
    rng = np.random.default_rng(3)
    [critical] = critical_values(((-1.0, 1.0),), (5,), 0.05)
    hits = 0
    for _ in range(800):
        values = rng.normal(size=(2, 5))
        values[1] += critical.minimum_detectable_effect
        hits += not covers(to_baseline(pd.DataFrame(values, index=["a", "b"])))
    assert hits / 800 == pytest.approx(0.8, abs=0.04)


PAIR = [[-1.0, 1.0]]


def test_smaller_effects_require_more_seeds() -> None:
    few, many, more = (seeds_to_decide(effect, 0.5, PAIR, 0.95) for effect in (1.0, 0.3, 0.1))
    assert few is not None
    assert many is not None
    assert more is not None
    assert few < many < more
    # Beyond what is simulated: the normal limit, 2 (z + z)² σ² / δ², of two one-sided tests without a difference.
    assert more == pytest.approx(2 * (1.645 + 1.28) ** 2 * 0.5**2 / 0.1**2, rel=0.05)
    assert seeds_to_decide(0.001, 0.5, PAIR, 0.95) is None


def test_looks_and_documents_require_more_seeds() -> None:
    alone = seeds_to_decide(0.5, 0.5, PAIR, 0.95)
    with_looks = seeds_to_decide(0.5, 0.5, PAIR, 0.95, (4, 5, 6, 8, 10, 12, 14, 16))
    with_documents = seeds_to_decide(0.5, 0.5, PAIR, 0.95, document_error=0.1)
    assert alone is not None
    assert with_looks is not None
    assert with_documents is not None
    assert alone < with_looks
    assert alone < with_documents
    assert seeds_to_decide(0.5, 0.5, PAIR, 0.95, document_error=0.18) is None


def test_the_decidable_effect_is_decided_with_80_percent_power() -> None:
    """An arm without a difference is equivalent within it, and one with it is better or worse or at least different."""
    rng = np.random.default_rng(4)
    [critical] = critical_values(((-1.0, 1.0),), (6,), 0.05)
    effect = critical.decidable_effect
    equivalent = different = 0
    for _ in range(800):
        values = rng.normal(size=(2, 6))
        [comparison] = to_baseline(pd.DataFrame(values, index=["a", "b"])).comparisons
        equivalent += verdict(comparison, effect, less_is_better=True) is Verdict.EQUIVALENT
        values[1] += effect
        different += not covers(to_baseline(pd.DataFrame(values, index=["a", "b"])))
    assert min(equivalent, different) / 800 == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize(
    ("low", "high", "margin", "expected"),
    [
        (-0.09, 0.09, 0.08, Verdict.EQUIVALENT),
        (0.01, 0.09, 0.08, Verdict.EQUIVALENT),
        (-0.11, 0.05, 0.099, Verdict.EQUIVALENT),
        (-0.11, 0.05, 0.1, Verdict.UNDECIDED),
        (-0.3, -0.05, 0.28, Verdict.BETTER),
        (0.05, 0.3, 0.28, Verdict.WORSE),
        (-0.05, 0.3, 0.28, Verdict.UNDECIDED),
        (None, None, None, Verdict.UNDECIDED),
    ],
)
def test_verdicts(low: float | None, high: float | None, margin: float | None, expected: Verdict) -> None:
    comparison = Comparison(Contrast("b", "m", {"b": 1.0, "a": -1.0}), 0.0, 5, low, high, margin)
    assert verdict(comparison, smallest_effect=0.1, less_is_better=True) is expected
    other_way = {Verdict.BETTER: Verdict.WORSE, Verdict.WORSE: Verdict.BETTER}
    assert verdict(comparison, smallest_effect=0.1, less_is_better=False) is other_way.get(expected, expected)


FACTORIAL = {f"{a}{b}{c}": {"A": a, "B": b, "C": c} for a in "01" for b in "012" for c in "01"}


def test_main_effects_and_interactions_of_a_factorial() -> None:
    """On values that are sums of known effects, each contrast gives its own effect and nothing of the others."""
    effects = {"A": {"0": 0.0, "1": 3.0}, "B": {"0": 0.0, "1": 5.0, "2": 7.0}, "C": {"0": 0.0, "1": 11.0}}
    means = {arm: sum(effects[f][level] for f, level in chosen.items()) for arm, chosen in FACTORIAL.items()}
    both = {arm: 2.0 * (chosen["A"] == "1" and chosen["B"] == "2") for arm, chosen in FACTORIAL.items()}

    def value(contrast: Contrast) -> float:
        assert sum(contrast.weights.values()) == pytest.approx(0)
        return sum(weight * (means[arm] + both[arm]) for arm, weight in contrast.weights.items())

    main = {contrast.name: value(contrast) for contrast in main_effects(FACTORIAL, "m")}
    assert main == pytest.approx({"A: 1 − 0": 3 + 2 / 3, "B: 1 − 0": 5, "B: 2 − 0": 8, "C: 1 − 0": 11})
    products = {contrast.name: value(contrast) for contrast in interactions(FACTORIAL, "m")}
    assert products["A: 1 × B: 2"] == pytest.approx(2)
    assert [name for name, interaction in products.items() if abs(interaction) > 1e-9] == ["A: 1 × B: 2"]


def test_an_incomplete_factorial_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2 of A × 3 of B × 2 of C\) has 12 arms, this grid has 11"):
        list(main_effects({arm: chosen for arm, chosen in FACTORIAL.items() if arm != "000"}, "m"))
