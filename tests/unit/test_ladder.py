"""Ladders: rungs of one grid or several, slopes of effects, curves and their predictions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ablate.lessons.grid_results import GridResults, IncomparableError
from ablate.lessons.ladder import Ladder
from tests.support.ledgers import change_counts, ledger_of, make_grid, with_changes, with_documents

# Compute of each rung.
SCALES = {"small": 1e12, "middle": 1e13, "large": 1e14}


def make_ladder(
    tmp_path: Path, effects: dict[str, tuple[float, ...]], seeds: int = 4, scales: dict[str, float] = SCALES
) -> GridResults:
    """A grid of objectives at several scales: each arm's effect at each scale, the baseline's is 0."""
    rungs = [(arm, scale) for arm in effects for scale in scales]
    offsets = {f"{arm} / {scale}": effects[arm][list(scales).index(scale)] for arm, scale in rungs}
    results, trials = make_grid(tmp_path, offsets, seeds)
    for arm, scale in rungs:
        for trial in trials[f"{arm} / {scale}"].values():
            change_counts(ledger_of(results).trial(trial), flops=scales[scale])
    options = {f"{arm} / {scale}": {"objective": arm, "scale": scale} for arm, scale in rungs}
    arms = tuple(replace(arm, options=options[arm.label]) for arm in results.grid.arms)
    return with_changes(results, arms=arms)


def test_the_slope_is_the_effect_of_ten_times_the_compute(tmp_path: Path) -> None:
    ladder = Ladder.of([make_ladder(tmp_path, {"causal": (0, 0, 0), "good": (-0.1, -0.2, -0.3), "same": (0, 0, 0)})])
    assert (ladder.baseline, ladder.arms) == ("causal", ("causal", "good", "same"))
    assert [(rung.label, rung.flops) for rung in ladder.rungs] == list(SCALES.items())
    good, same = ladder.slopes
    assert good.slope is not None
    assert same.slope is not None
    assert good.slope.value == pytest.approx(-0.1, abs=0.003)
    assert good.slope.low < -0.1 < good.slope.high < 0
    assert same.slope.low < 0 < same.slope.high
    assert good.at_largest is not None
    assert good.at_largest.value == pytest.approx(-0.3, abs=0.003)
    # By hand: the differences by seed, and the slope of their means.
    values = ladder.rungs[0].values_AS
    assert good.effects["small"].value == pytest.approx((values.loc["good"] - values.loc["causal"]).mean())
    assert not good.bends


def test_an_effect_that_bends_is_said_to(tmp_path: Path) -> None:
    [bent] = Ladder.of([make_ladder(tmp_path, {"causal": (0, 0, 0), "bent": (-0.3, -0.1, -0.1)})]).slopes
    assert bent.bends
    assert bent.slope is not None
    assert bent.slope.value == pytest.approx(0.1, abs=0.003), "still the mean slope over these rungs"


def test_several_grids_are_one_ladder(tmp_path: Path) -> None:
    whole = make_ladder(tmp_path, {"causal": (0, 0, 0), "good": (-0.1, -0.2, -0.3)})
    grids = [
        with_changes(whole, grid_id=scale, arms=tuple(arm for arm in whole.grid.arms if arm.options["scale"] == scale))
        for scale in SCALES
    ]
    assert Ladder.of(grids).slopes == Ladder.of([whole]).slopes
    # Grids of one scale do not name it.
    unnamed = [
        with_changes(
            grid, arms=tuple(replace(arm, options={"objective": arm.options["objective"]}) for arm in grid.arms)
        )
        for grid in grids
    ]
    ladder = Ladder.of(unnamed)
    assert [rung.label for rung in ladder.rungs] == list(SCALES)
    assert ladder.slopes == Ladder.of([whole]).slopes


def test_documents_widen_effects_and_cancel_in_slopes(tmp_path: Path) -> None:
    grid = make_ladder(tmp_path, {"causal": (0, 0, 0), "good": (-0.1, -0.2, -0.3)})
    [over_seeds] = Ladder.of([grid]).slopes
    luck = np.random.default_rng(1).normal(scale=0.05, size=(2, 30))

    def bits(label: str, seed: int) -> np.ndarray:
        return luck - luck.mean(axis=1, keepdims=True) if label.startswith("good") else np.zeros_like(luck)

    [over_documents] = Ladder.of([with_documents(grid, 30, bits)]).slopes
    width = {name: effect.high - effect.low for name, effect in over_seeds.effects.items()}
    for name, effect in over_documents.effects.items():
        # The standard error of 60 documents in two sources is 0.05 / √60.
        assert effect.high - effect.low > max(width[name], 3.4 * 0.05 / 60**0.5)
    assert over_documents.slope is not None
    assert over_seeds.slope is not None
    new, old = (slope.high - slope.low for slope in (over_documents.slope, over_seeds.slope))
    assert new == pytest.approx(old, rel=0.2), "the same documents at all rungs"


def test_an_arm_that_lacks_rungs_is_told_apart(tmp_path: Path) -> None:
    grid = make_ladder(tmp_path, {"causal": (0, 0, 0), "good": (-0.1, -0.2, -0.3)})
    few = tuple(arm for arm in grid.grid.arms if arm.label not in ("good / middle", "good / large"))
    [slope] = Ladder.of([with_changes(grid, arms=few)]).slopes
    assert slope.slope is None
    assert slope.problem == "a slope takes two rungs"
    assert list(slope.effects) == ["small"]


def test_an_unknown_baseline_names_the_arms(tmp_path: Path) -> None:
    grid = make_ladder(tmp_path, {"causal": (0, 0, 0), "good": (-0.1, -0.2, -0.3)})
    with pytest.raises(IncomparableError, match=r"baseline prefix on bpb_full\. The arms are: causal, good\."):
        Ladder.of([grid], baseline="prefix")
