"""What a lesson of tuned arms says of their tuning, and the page's part about sweeps."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from ablate.lessons.grid_results import GridResults
from ablate.lessons.lesson import Lesson
from ablate.records.provenance import Provenance
from ablate.records.schema import write
from ablate.records.tuning import TunedArm, TuningCost, TuningRecord, TuningSettings, TuningSummary
from ablate.reports.page import page
from ablate.reports.study_figures import study_figures
from ablate.reports.tuning_notes import tuning_notes, untuned
from ablate.reports.tuning_section import TuningStudies
from tests.support.html import Tags, table
from tests.support.ledgers import ledger_of, make_grid, with_changes

SETTINGS = TuningSettings(
    space={"optimizer.learning_rate": {}},
    metrics=("bpb_full",),
    n_trials=8,
    sampler="tpe",
    pruner="hyperband",
    tune_seed=0,
)
TUNING = TuningRecord(
    tuning_id="s" * 12,
    command="python -m ablate -m sweeps=<b>",
    settings=SETTINGS,
    arms=(),
    created_at=0.0,
    provenance=Provenance(ablate="0", python="3", versions={}, machine="m"),
    storage="runs/studies.journal",
)


def tuned_arm(values: dict[str, Any], score: float) -> TunedArm:
    # Without its tuning, as far as these records know.
    untuned = {"init_seed": None, "data_seed": None}
    cost = TuningCost(ended=5, pruned=3, failed=0, train_tokens=2.5e6)
    return TunedArm(study="s", number=1, trial_id="t", values=values, score=score, cost=cost, untuned=untuned)


SUMMARY = TuningSummary(
    tuning_id=TUNING.tuning_id,
    settings=SETTINGS,
    arms={
        "causal": (tuned_arm({"optimizer.learning_rate": 0.004}, 2.01),),
        "mixed": (tuned_arm({"optimizer.learning_rate": 0.008, "infill": "psm"}, 2.02),),
    },
)


def tuned(tmp_path: Path, before: dict[str, float] | None, after: dict[str, float]) -> list[str]:
    """The notes of a grid whose arms were tuned; in the same ledger, the same arms without tuning."""
    results, _ = make_grid(tmp_path / "tuned", after)
    record = replace(results.grid, tuning=SUMMARY, grid_id="1" * 12)
    if before is None:
        write(ledger_of(results).grid_path("0" * 12), record)
        return tuning_notes(Lesson.of(GridResults(results.logs, record)))
    untuned_results, _ = make_grid(tmp_path / "both", before)
    ledger = ledger_of(untuned_results)
    # The tuned trials into the same ledger, under ids of their own.
    for trial in record.trial_ids:
        (tmp_path / "tuned" / "runs" / trial).rename(ledger.trial(f"9{trial[1:]}").path)
    arms = [replace(arm, trials={seed: f"9{trial[1:]}" for seed, trial in arm.trials.items()}) for arm in record.arms]
    write(ledger.grid_path("1" * 12), replace(record, arms=tuple(arms)))
    return tuning_notes(Lesson.of(GridResults(untuned_results.logs, ledger.grid("1" * 12))))


def test_a_tuned_lesson_says_that_it_holds_for_the_chosen_values(tmp_path: Path) -> None:
    notes = tuned(tmp_path, None, {"causal": 0.0, "mixed": 0.1})
    [covered] = [note for note in notes if note.startswith("The verdicts hold for these values: the intervals cover")]
    assert covered.endswith("To have the tuning inside the intervals, type hydra.sweeper.tune_replicates=4.")
    assert not any(note.startswith("Hardly tuned") for note in notes)


def test_a_lesson_that_is_tuned_for_each_seed_says_that_its_intervals_cover_that(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "mixed": 0.1})
    settings = replace(SETTINGS, tune_replicates=2)
    other = tuned_arm({"optimizer.learning_rate": 0.002}, 2.03)
    arms = {label: (arm, other) for label, [arm] in SUMMARY.arms.items()}
    summary = replace(SUMMARY, settings=settings, arms=arms)
    how, covered, *_ = tuning_notes(Lesson.of(with_changes(results, tuning=summary)))
    assert "2 times, with 8 candidates per arm each, under the seeds 0 to 1, which are not used here." in how
    assert "causal `optimizer.learning_rate=0.004` / `optimizer.learning_rate=0.002` (2.0100 / 2.0300; 10 of 16" in how
    assert "the intervals cover other seeds of the training and of the tuning" in covered


def test_arms_whose_candidates_were_nearly_all_pruned_are_named(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "mixed": 0.1})
    pruned = replace(SUMMARY.arms["mixed"][0], cost=TuningCost(ended=1, pruned=15, failed=0, train_tokens=1e6))
    summary = replace(SUMMARY, arms={**SUMMARY.arms, "mixed": (pruned,)})
    notes = tuning_notes(Lesson.of(with_changes(results, tuning=summary)))
    [note] = [note for note in notes if note.startswith("Hardly tuned")]
    assert "trained to the end: mixed 1 of 16." in note
    assert "hydra.sweeper.pruner=none" in note


def test_arms_that_were_not_tuned_say_nothing_of_it(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "mixed": 0.1})
    assert tuning_notes(Lesson.of(results)) == []


def test_how_arms_were_tuned_is_told(tmp_path: Path) -> None:
    first, _, second = tuned(tmp_path, None, {"causal": 0.0, "mixed": 0.1})
    assert first.startswith(
        "Tuned by TPE and hyperband pruning on the validation split's bpb_full, 8 candidates per arm with seed 0"
    )
    assert "causal `optimizer.learning_rate=0.004` (2.0100; 5 of 8 candidates trained to the end, 2.5M tokens)" in first
    assert "mixed `optimizer.learning_rate=0.008`, `infill=psm`" in first
    assert second.startswith("Whether tuning changed a verdict is unknown")


def test_a_grid_of_other_trials_is_not_what_was_tuned(tmp_path: Path) -> None:
    results, trials = make_grid(tmp_path, {"causal": 0.0, "mixed": 0.1})
    ledger_of(results).trial(trials["mixed"]["0"]).update(semantic={"budget": 5})
    assert untuned(with_changes(results, tuning=SUMMARY, grid_id="1" * 12)) is None


def test_verdicts_that_tuning_changes_and_does_not_change(tmp_path: Path) -> None:
    worse, alike = {"causal": 0.0, "mixed": 0.1}, {"causal": 0.0, "mixed": 0.0}
    assert tuned(tmp_path / "one", worse, worse)[-1] == (
        f"Tuning changes no verdict, compared with the untuned arms (grid {'0' * 12}): mixed stays worse."
    )
    assert tuned(tmp_path / "two", worse, alike)[-1] == (
        f"Tuning changes verdicts, compared with the untuned arms (grid {'0' * 12}): mixed was worse, is equivalent."
    )


def study(directions: int, parameters: int) -> optuna.Study:
    made = optuna.create_study(
        directions=["minimize"] * directions, sampler=optuna.samplers.RandomSampler(seed=0), study_name="s"
    )
    for number in range(8):
        trial = made.ask()
        values = [trial.suggest_float(f"key.{name}", 1e-4, 1e-1, log=True) for name in range(parameters)]
        trial.set_user_attr("values", dict(trial.params))
        trial.set_user_attr("trial_id", f"{number:012}")
        made.tell(trial, [sum(values) * (-1) ** place for place in range(directions)])
    return made


@pytest.mark.parametrize(
    ("directions", "parameters", "titles"),
    [
        (1, 1, ["History", "Values"]),
        (1, 2, ["History", "Importance", "Parallel coordinates"]),
        (2, 1, ["Front", "Values, bpb_full", "Values, flops"]),
    ],
)
def test_figures_of_a_study(directions: int, parameters: int, titles: list[str]) -> None:
    figures = dict(study_figures(study(directions, parameters), ["bpb_full", "flops"][:directions]))
    assert list(figures) == titles
    assert all(figure.axes for figure in figures.values())


def test_pruned_candidates_are_drawn_as_crosses_and_nothing_is_white_in_the_dark() -> None:
    pruned = study(1, 1)
    trial = pruned.ask()
    trial.suggest_float("key.0", 1e-4, 1e-1, log=True)
    trial.report(50.0, step=3)
    pruned.tell(trial, state=optuna.trial.TrialState.PRUNED)
    for title, figure in study_figures(pruned, ["bpb_full"]):
        axis = figure.axes[0]
        offsets = [np.asarray(each.get_offsets()) for each in axis.collections]
        [[[_, value]]] = [points.tolist() for points in offsets if len(points) == 1]
        low, high = axis.get_ylim()
        assert low < value < high < 1, "a value far above is drawn at the border"
        legend = axis.get_legend()
        assert legend is not None
        assert "pruned, last value" in [text.get_text() for text in legend.get_texts()], title
    text = page([], {}, [TuningStudies(TUNING, {"causal": pruned})])
    drawn = "".join(re.findall(r"<[^>]*>", text[text.index("<main") :]))
    assert not {"#000000", "#1f77b4", "#d62728", "#555555"} & set(re.findall(r"#[0-9a-f]{6}", drawn))
    assert "pruned, last value" in Tags(text).text


def test_a_study_in_which_nothing_ended_has_no_figure_that_fails() -> None:
    empty = optuna.create_study()
    empty.ask()
    for _, figure in study_figures(empty, ["bpb_full"]):
        assert figure.axes


def test_sweeps_on_the_page(tmp_path: Path) -> None:
    shown = TuningStudies(TUNING, {"causal": study(1, 1), "mixed": study(1, 2)})
    text = page([], {}, [shown])
    assert page([], {}, [shown]) == text
    assert Tags(text).opened == []
    assert "sweeps=&lt;b&gt;" in text
    assert "Tuning optimizer.learning_rate" in text
    header, *rows = table(text, "best")
    assert header == ["arm", "key.0", "key.1", "bpb_full", "trial", "trained", "pruned", "failed"]
    assert [row[0] for row in rows] == ["causal", "mixed"]
    assert rows[0][-3:] == ["8", "0", "0"]
    assert "mathdefault" not in text, "a page shows no formulas"
    names = [value for _, name, value in Tags(text).attributes if name == "id"]
    assert len(names) == len(set(names))


def test_a_sweep_in_which_nothing_ended_is_on_the_page_too() -> None:
    empty = optuna.create_study()
    assert "No candidate is finished yet." in page([], {}, [TuningStudies(TUNING, {"causal": empty})])
