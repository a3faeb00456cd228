"""Ladders: rungs of one grid or several, slopes of effects, curves and their predictions."""

from collections.abc import Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from ablate.lessons.comparable import IncomparableError
from ablate.lessons.grid_results import GridResults
from ablate.lessons.ladder import Ladder
from ablate.lessons.lesson import Lesson
from ablate.records.grid import ContrastRecord, LadderRecord
from ablate.records.trial import SourceReading
from ablate.reports.lesson_json import lesson_json
from ablate.reports.markdown import markdown
from ablate.reports.page import page
from ablate.reports.report import report
from tests.support.ledgers import change_counts, folder_of, ledger_of, make_grid, with_changes, with_documents

# Compute of each rung.
SCALES = {"small": 1e12, "middle": 1e13, "large": 1e14}


def make_ladder(
    tmp_path: Path,
    effects: dict[str, tuple[float, ...]],
    seeds: int = 4,
    scales: Mapping[str, float] = SCALES,
    fits: tuple[str, ...] = ("slope",),
    targets: Mapping[str, float] | None = None,
) -> GridResults:
    """A grid of objectives at several scales, as a declared ladder.

    Args:
        effects: what each arm's score at each scale lies above 2.
        scales: the compute of each.
    """
    rungs = [(arm, scale) for arm in effects for scale in scales]
    offsets = {f"{arm} / {scale}": effects[arm][list(scales).index(scale)] for arm, scale in rungs}
    results, trials = make_grid(tmp_path, offsets, seeds)
    for arm, scale in rungs:
        for trial in trials[f"{arm} / {scale}"].values():
            change_counts(ledger_of(results).trial(trial), flops=scales[scale])
    options = {f"{arm} / {scale}": {"objective": arm, "scale": scale} for arm, scale in rungs}
    arms = tuple(replace(arm, options=options[arm.label]) for arm in results.grid.arms)
    baseline, *others = effects
    contrasts = tuple(
        ContrastRecord(f"{arm} / {scale}", "bpb_full", {f"{arm} / {scale}": 1.0, f"{baseline} / {scale}": -1.0})
        for arm in others
        for scale in scales
    )
    ladder = LadderRecord(("scale",), fits, targets or {})
    declaration = replace(results.declaration, contrasts=contrasts, factors=("objective", "scale"), ladder=ladder)
    return with_changes(results, arms=arms, declaration=declaration)


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


def test_declared_contrasts_take_the_place_of_arms_minus_baseline(tmp_path: Path) -> None:
    grid = make_ladder(tmp_path, {"causal": (0, 0, 0), "one": (-0.1, -0.2, -0.3), "two": (-0.1, -0.1, -0.1)})
    assert grid.declaration.ladder is not None
    contrasts = {"one − two": {"one": 1.0, "two": -1.0}}
    declaration = replace(grid.declaration, ladder=replace(grid.declaration.ladder, contrasts=contrasts))
    ladder = Ladder.of([with_changes(grid, declaration=declaration)])
    [slope] = ladder.slopes
    assert slope.name == "one − two"
    assert [effect.value for effect in slope.effects.values()] == pytest.approx([0, -0.1, -0.2], abs=0.003)
    assert slope.slope is not None
    assert slope.slope.value == pytest.approx(-0.1, abs=0.003)
    # Another baseline asks another question.
    others = Ladder.of([with_changes(grid, declaration=declaration)], baseline="two").slopes
    assert [slope.name for slope in others] == ["causal", "one"]


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
    plain = replace(whole.declaration, ladder=None)
    unnamed = [
        with_changes(
            grid,
            arms=tuple(replace(arm, options={"objective": arm.options["objective"]}) for arm in grid.arms),
            declaration=plain,
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


def power_law(scales: Mapping[str, float], floor: float, scale: float, alpha: float) -> tuple[float, ...]:
    """What scores lie above 2."""
    largest = max(scales.values())
    return tuple(floor + scale * (flops / largest) ** -alpha for flops in scales.values())


FIVE = {"xs": 1e12, "s": 1e13, "m": 1e14, "l": 1e15, "xl": 1e16}


def test_a_power_law_predicts_a_larger_size(tmp_path: Path) -> None:
    causal, worse = power_law(FIVE, -1.2, 0.5, 0.15), power_law(FIVE, -1.1, 0.5, 0.15)
    grid = make_ladder(
        tmp_path, {"causal": causal, "worse": worse}, scales=FIVE, fits=("slope", "compute"), targets={"10×": 1e17}
    )
    ladder = Lesson.of(grid).ladder
    assert ladder is not None
    rows = {(row.fit, row.arm, row.quantity): row for row in ladder.rows()}
    alpha = rows["compute", "causal", "alpha"].range
    at_target = rows["compute", "causal", "at 10×"].range
    assert alpha is not None
    assert at_target is not None
    assert alpha.low < 0.15 < alpha.high
    # Every seed k of `make_grid` adds 0.1 · k.
    truth = 2 + 0.15 - 1.2 + 0.5 * 10**-0.15
    assert at_target.low < truth < at_target.high
    assert at_target.value == pytest.approx(truth, abs=0.03)
    effect = rows["compute", "worse", "− causal at 10×"]
    assert effect.range is not None
    assert effect.range.low < 0.1 < effect.range.high
    assert effect.verdict == "worse"
    assert effect.note == "worse at xl: the ranking holds"


def test_a_ranking_that_changes_is_said_to(tmp_path: Path) -> None:
    causal, steep = power_law(FIVE, -1.2, 0.5, 0.02), power_law(FIVE, -1.2, 0.6, 0.3)
    grid = make_ladder(
        tmp_path, {"causal": causal, "steep": steep}, scales=FIVE, fits=("compute",), targets={"far": 1e20}
    )
    ladder = Lesson.of(grid).ladder
    assert ladder is not None
    [row] = [row for row in ladder.rows() if row.verdict]
    assert (row.verdict, row.note) == ("better", "worse at xl: the ranking changes")


@pytest.mark.parametrize(
    ("scales", "scores", "problem"),
    [
        ({"s": 1e12, "m": 1e13}, (0.0, -0.1), "too few rungs: 2, it takes 3"),
        (FIVE, (0.0, -0.5, -0.1, -0.5, -0.1), "bad fit: the rungs of {} lie off every such curve"),
    ],
    ids=["few", "bad"],
)
def test_without_a_curve_the_words_say_why(
    tmp_path: Path, scales: dict[str, float], scores: tuple[float, ...], problem: str
) -> None:
    grid = make_ladder(
        tmp_path, {"causal": scores, "other": scores}, scales=scales, fits=("compute",), targets={"t": 1e20}
    )
    ladder = Lesson.of(grid).ladder
    assert ladder is not None
    rows = [row for row in ladder.rows() if row.fit == "compute"]
    assert [(row.range, row.note) for row in rows] == [(None, problem.format(arm)) for arm in ("causal", "other")]


def test_repetition_is_worth_what_was_put_in(tmp_path: Path) -> None:
    sizes = [(tokens, epochs) for tokens in (1e6, 4e6, 16e6) for epochs in (1, 4, 16, 64)]
    scales = {f"{tokens / 1e6:g}M / {epochs}": tokens * epochs for tokens, epochs in sizes}
    stars = {"causal": 8.0, "mixed": 24.0}

    def scores(star: float) -> tuple[float, ...]:
        worth = np.array([unique * (1 + star * (1 - np.exp(-(epochs - 1) / star))) for unique, epochs in sizes])
        return tuple(-1 + (worth / 1e8) ** -0.3)

    grid = make_ladder(tmp_path, {arm: scores(star) for arm, star in stars.items()}, scales=scales, fits=("epochs",))
    for (unique, epochs), scale in zip(sizes, scales, strict=True):
        for arm in grid.arms:
            if arm.options["scale"] == scale:
                for trial in arm.trials.values():
                    folder = ledger_of(grid).trial(trial)
                    change_counts(folder, train_tokens=int(unique * epochs))
                    result = folder.record().result
                    assert result is not None
                    folder.update(result=replace(result, parameters=10, reading={"code": SourceReading(1.0, epochs)}))
    ladder = Lesson.of(with_changes(grid)).ladder
    assert ladder is not None
    ranges = {(row.arm, row.quantity): row.range for row in ladder.rows() if row.fit == "epochs"}
    for name, star in stars.items():
        interval = ranges[name, "R_star"]
        assert interval is not None
        assert interval.low < star < interval.high
        assert interval.value == pytest.approx(star, rel=0.25)
        assert interval.high < 4 * interval.low
    more = ranges["mixed", "− causal in R_star"]
    assert more is not None
    assert 0 < more.low < stars["mixed"] - stars["causal"] < more.high
    assert ("causal", "− causal in R_star") not in ranges


def test_every_report_has_the_ladder(tmp_path: Path) -> None:
    causal, worse = power_law(FIVE, -1.2, 0.5, 0.1), power_law(FIVE, -1.1, 0.5, 0.1)
    grid = make_ladder(
        tmp_path, {"causal": causal, "worse": worse}, scales=FIVE, fits=("slope", "compute"), targets={"10×": 1e17}
    )
    lesson = Lesson.of(grid)
    assert {str(verdict) for verdict in lesson.verdicts.values()} == {"worse"}
    assert lesson.table().query("metric == 'bpb_full' and arm == 'causal / m'")["verdict"].tolist() == ["baseline"]
    output = StringIO()
    console = Console(file=output, width=110)
    assert report(grid, folder_of(grid), console) is not None
    printed = output.getvalue()
    verdict = "worse; worse at xl: the ranking holds"
    for text in (printed, markdown(lesson), page([lesson])):
        assert "Ladder on bpb_full: 5 rungs, 1e+12 to 1e+16 training FLOPs" in text
        assert verdict in " ".join(text.split())
    assert {path.name for path in folder_of(grid).iterdir()} >= {"ladder.csv", "ladder.png", "ladder.pdf"}
    written = lesson_json(grid, {}).ladder
    assert len(written) == 5 + 1 + 2 * (3 + 1) + 1
    assert [row.verdict for row in written if row.verdict] == ["worse"]
