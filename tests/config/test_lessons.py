"""The lessons of conf/experiment, and what a declaration refuses, without training anything."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from ablate import CONF
from ablate.config.parse import composed_from_container
from ablate.config.trial import TrialConfig
from ablate.errors import UsageError
from ablate.grid.cell import Cell
from ablate.grid.declaration import check_lesson, declare
from ablate.grid.expand import Arm, Seeds
from ablate.identity import trial_id
from ablate.records.grid import ArmRecord, LadderRecord
from tests.support.in_process import run_in_process
from tests.support.trials import container_of

LESSONS = sorted(path.stem for path in (CONF / "experiment").glob("lesson*.yaml"))
AT_SCALE = [
    *("budget=paper", "corpus=codegen2", "tokenizer=codegen2"),
    *("optimizer=codegen1", "schedule=codegen1", "precision=bf16"),
]


def status(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    done = run_in_process(folder, "status", "--json", *arguments, f"runs_dir={folder}")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["trials"]
    assert isinstance(found, list)
    return found


def arms_of(name: str) -> list[dict[str, str]]:
    """The arms that an experiment's axes, zips and excludes make, by their overrides."""
    sweeper = yaml.safe_load((CONF / "experiment" / f"{name}.yaml").read_text())["hydra"]["sweeper"]
    axes = {key: [value.strip() for value in str(values).split(",")] for key, values in sweeper["params"].items()}
    zipped = [tuple(keys) for keys in sweeper.get("zip", [])]
    groups = [*zipped, *((key,) for key in axes if not any(key in keys for keys in zipped))]
    found: list[dict[str, str]] = [{}]
    for keys in groups:
        columns = list(zip(*(axes[key] for key in keys), strict=True))
        found = [{**arm, **dict(zip(keys, values, strict=True))} for arm in found for values in columns]
    found = [{key: arm[key] for key in axes} for arm in found]
    patterns = [{k: v if isinstance(v, list) else [v] for k, v in p.items()} for p in sweeper.get("exclude", [])]
    return [arm for arm in found if not any(all(arm[k] in v for k, v in p.items()) for p in patterns)]


@cache
def cells_of(name: str, *overrides: str) -> list[Cell]:
    cells = []
    for options in arms_of(name):
        axes = [f"{key}={value}" for key, value in options.items()]
        container = container_of(f"experiment={name}", *overrides, *axes)
        container["corpus"]["manifest_sha256"] = container["corpus"]["manifest_sha256"] or "0" * 64
        composed = composed_from_container(container)
        arm = Arm(" / ".join(options.values()), options, {}, (), composed)
        cells += [Cell(arm, Seeds(seed, seed), Seeds(seed, seed).on(composed.trial), "") for seed in (0, 1)]
    return [Cell(cell.arm, cell.seeds, cell.trial, trial_id(cell.trial)) for cell in cells]


def record_arms(cells: list[Cell]) -> list[ArmRecord]:
    labels = dict.fromkeys(cell.arm.label for cell in cells)
    options = {cell.arm.label: cell.arm.options for cell in cells}
    return [ArmRecord(label, options[label], tasks={}, trials={}) for label in labels]


@pytest.mark.parametrize("overrides", [[], AT_SCALE], ids=["proxy", "paper"])
@pytest.mark.parametrize("name", LESSONS)
def test_every_lesson_can_be_declared_at_both_budgets(name: str, overrides: list[str]) -> None:
    cells = cells_of(name, *overrides)
    declaration = declare(cells, record_arms(cells), [5, 8])
    check_lesson(declaration, cells)
    assert declaration.name == name
    assert declaration.question is not None
    assert declaration.question.endswith("?")
    assert declaration.contrasts
    trial: TrialConfig = cells[0].trial
    proxy = 2_000_000 if name.startswith("lesson5") else 500_000
    assert trial.budget.train_tokens == (183_500_800_000 if overrides else proxy)
    assert len({cell.trial_id for cell in cells}) == len(cells), "no arm twice"


def test_lessons_share_their_causal_baseline() -> None:
    one, two, three, four = ({cell.trial_id for cell in cells_of(name)} for name in LESSONS if "lesson5" not in name)
    assert len(one & two & three & four) == 4, "the baseline's two seeds at two scales"


def test_an_experiment_is_a_grid_without_m_and_takes_overrides(tmp_path: Path) -> None:
    assert len(status(tmp_path, "experiment=lesson2_infill")) == 40
    assert len(status(tmp_path, "experiment=lesson2_infill", "replicates=2")) == 20


def test_main_effects_of_lesson_5_are_five_and_its_interactions_seven() -> None:
    cells = cells_of("lesson5_multi_epoch", "lesson.compare=[main_effects,interactions]")
    composed = cells[0].arm.composed
    lesson = replace(composed.grid.lesson, ladder=None, baseline=None, contrasts={})
    arm = replace(cells[0].arm, composed=replace(composed, grid=replace(composed.grid, lesson=lesson)))
    cells = [replace(cells[0], arm=arm), *cells[1:]]
    names = [contrast.name for contrast in declare(cells, record_arms(cells), [5]).contrasts]
    assert names[:5] == [
        *(f"mixture.epochs: {epochs} − null" for epochs in (4, 16, 64)),
        "objective: mixed − causal",
        "scale: 160k − 60k",
    ]
    assert len(names) == 12


def small(*overrides: str, **lesson: Any) -> list[Cell]:
    container = container_of(*overrides)
    container["lesson"] |= lesson
    composed = composed_from_container(container)
    arms = [Arm(label, {"objective": label}, {}, (), composed) for label in ("causal", "mixed", "prefix")]
    return [Cell(arm, Seeds(0, 0), composed.trial, arm.label) for arm in arms]


@pytest.mark.parametrize(
    ("lesson", "message"),
    [
        (
            {"contrasts": {"odd": {"weights": {"causal": 1, "mixed": -0.5}}}},
            r"lesson.contrasts.odd: its weights must sum to 0 and not all be 0; they sum to 0.5.",
        ),
        (
            {"contrasts": {"odd": {"weights": {"causal": 1, "mixd": -1}}}},
            r"lesson.contrasts.odd=mixd: no arm has this label. Did you mean mixed\? Allowed: causal, mixed, prefix.",
        ),
        ({"baseline": "none"}, r"lesson.baseline=none: no arm has this label. Allowed: causal, mixed, prefix."),
        (
            {"contrasts": {"odd": {"weights": {"causal": 1, "mixed": -1}, "metric": "bpb_ful"}}},
            r"lesson.contrasts.odd.metric=bpb_ful: no such metric. Did you mean bpb_full\?",
        ),
        (
            {"contrasts": {"odd": {"weights": {"causal": 1, "mixed": -1}, "metric": "infill_bpb_both"}}},
            r"only arms that are trained to infill have it, and causal is not",
        ),
    ],
)
def test_declarations_that_mean_nothing_are_refused(lesson: dict[str, Any], message: str) -> None:
    cells = small(**lesson)
    with pytest.raises(UsageError, match=message):
        check_lesson(declare(cells, record_arms(cells), [3]), cells)


def rungs(baseline: str | None = None, contrasts: dict[str, Any] | None = None, **ladder: Any) -> list[Cell]:
    """Two objectives at two budgets."""
    cells = []
    for arm in ("causal", "prefix"):
        for tokens in (9_600, 19_200):
            container = container_of(f"objective={arm}", f"budget.train_tokens={tokens}")
            container["lesson"] |= {
                "ladder": {"over": ["budget"], "fits": ["slope"]} | ladder,
                "baseline": baseline,
                "contrasts": contrasts or {},
            }
            composed = composed_from_container(container)
            options = {"objective": arm, "budget.train_tokens": str(tokens)}
            label = f"{arm} / train_tokens={tokens}"
            cells.append(Cell(Arm(label, options, {}, (), composed), Seeds(0, 0), composed.trial, label))
    return cells


@pytest.mark.parametrize("baseline", [None, "prefix", "prefix / 19200"])
def test_a_ladder_compares_the_arms_of_each_rung(baseline: str | None) -> None:
    cells = rungs(baseline)
    declaration = declare(cells, record_arms(cells), [3])
    check_lesson(declaration, cells)
    one, other = ("causal", "prefix") if baseline is None else ("prefix", "causal")
    assert [contrast.weights for contrast in declaration.contrasts] == [
        {f"{other} / train_tokens={tokens}": 1.0, f"{one} / train_tokens={tokens}": -1.0} for tokens in (9_600, 19_200)
    ]
    assert declaration.pairing == "windows"
    assert declaration.ladder == LadderRecord(("budget",), ("slope",))


def test_a_ladder_of_one_rung_is_none() -> None:
    cells = rungs(over=["scale"])
    assert declare(cells, record_arms(cells), [3]).ladder is None


def test_a_named_comparison_is_made_at_each_rung() -> None:
    contrasts = {
        "price": {"weights": {"prefix": 1, "causal": -1}, "smallest_effect": 0.1},
        "continued": {"weights": {"prefix": 1, "causal": -1}, "metric": "bpb_full"},
        "apart": {"weights": {"prefix / 9600": 1, "causal / 9600": -1}},
    }
    cells = rungs(contrasts=contrasts)
    declaration = declare(cells, record_arms(cells), [3])
    named = {contrast.name: contrast for contrast in declaration.contrasts[2:]}
    assert list(named) == ["9600, price", "19200, price", "9600, continued", "19200, continued", "apart"]
    assert named["19200, price"].weights == {"prefix / train_tokens=19200": 1, "causal / train_tokens=19200": -1}
    assert (named["9600, price"].smallest_effect, named["9600, continued"].metric) == (0.1, "bpb_full")
    # Slopes are of the primary metric, and of what is compared at each rung.
    assert declaration.ladder is not None
    assert declaration.ladder.contrasts == {"price": {"prefix": 1, "causal": -1}}


def test_a_rung_without_an_arm_of_a_named_comparison_is_refused() -> None:
    cells = rungs(contrasts={"price": {"weights": {"prefix": 1, "causal": -1}}})[:-1]
    with pytest.raises(UsageError, match=r"lesson.contrasts.price: the rung 19200 has no arm prefix. It has: causal."):
        declare(cells, record_arms(cells), [3])


@pytest.mark.parametrize(
    ("lesson", "message"),
    [
        ({"over": ["sacle"]}, r"lesson.ladder.over: sacle is no key of a trial. Did you mean scale\?"),
        (
            {"over": ["budget", "objective"]},
            r"over=\[budget,objective\]: names all swept keys, so each rung has one arm",
        ),
        (
            {"targets": {"1b": 1e20}},
            r"lesson.ladder.targets: only the fit `compute` predicts. Type lesson.ladder.fits=",
        ),
    ],
    ids=["no key", "no arms", "targets"],
)
def test_ladders_that_mean_nothing_are_refused(lesson: dict[str, Any], message: str) -> None:
    cells = rungs(**lesson)
    with pytest.raises(UsageError, match=message):
        declare(cells, record_arms(cells), [3])


@pytest.mark.parametrize("own", [None, 0.05])
def test_a_contrast_on_another_unit_needs_a_smallest_effect_of_its_own(own: float | None) -> None:
    contrast = {"weights": {"causal": 1, "mixed": -1}, "metric": "infill_exact_single_line", "smallest_effect": own}
    cells = small("infill=psm", contrasts={"exact": contrast}, smallest_effect=0.02)
    declaration = declare(cells, record_arms(cells), [3])
    if own is None:
        with pytest.raises(UsageError, match=r"is in the unit of bpb_continuation \(bits per byte\), this metric is a"):
            check_lesson(declaration, cells)
    else:
        check_lesson(declaration, cells)
        assert {each.name: each.smallest_effect for each in declaration.contrasts}["exact"] == own


def test_a_primary_metric_without_a_default_needs_a_smallest_effect() -> None:
    cells = small("infill=psm", primary_metric="infill_exact_single_line")
    with pytest.raises(
        UsageError, match=r"Type it in its unit \(fraction of middles\), e.g. lesson.smallest_effect=0.05"
    ):
        declare(cells, record_arms(cells), [3])
    cells = small("infill=psm", primary_metric="infill_exact_single_line", smallest_effect=0.1)
    assert declare(cells, record_arms(cells), [3]).smallest_effect == 0.1


def test_main_effects_need_a_full_factorial() -> None:
    cells = small(compare=["main_effects"])
    arms = [
        replace(arm, options={"objective": objective, "block": block})
        for arm, objective, block in zip(
            record_arms(cells), ("causal", "mixed", "causal"), ("gptj", "gptj", "llama"), strict=True
        )
    ]
    with pytest.raises(
        UsageError, match=r"lesson.compare=main_effects: takes a full factorial .* has 4 arms, this grid has 3"
    ):
        declare(cells, arms, [3])
