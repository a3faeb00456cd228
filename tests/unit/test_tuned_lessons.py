"""What a lesson of tuned arms says of their tuning, and the page's part about sweeps."""

from pathlib import Path
from typing import Any

import optuna
import pytest

from ablate.files import write_json
from ablate.lessons.grid_results import GridResults
from ablate.lessons.lesson import lesson
from ablate.lessons.tuning import tuning_notes, untuned
from ablate.reports.page import page
from ablate.reports.study_figures import study_figures
from ablate.reports.tuning_section import TuningStudies
from tests.support.html import Tags, table
from tests.support.ledgers import ledger_of, make_grid

ARM = {"ended": 5, "pruned": 3, "failed": 0, "train_tokens": 2.5e6, "trial_id": "t", "number": 1, "study": "s"}
SWEEP: dict[str, Any] = {
    "sweep_id": "s" * 12,
    "command": "python -m ablate -m sweeps=<b>",
    "storage": "runs/studies.journal",
    "space": {"optimizer.learning_rate": {}},
    "metrics": ["bpb_full"],
    "n_trials": 8,
    "sampler": "tpe",
    "pruner": "hyperband",
    "tune_seed": 0,
    "arms": {
        "causal": {**ARM, "values": {"optimizer.learning_rate": 0.004}, "score": 2.01},
        "mixed": {**ARM, "values": {"optimizer.learning_rate": 0.008, "infill": "psm"}, "score": 2.02},
    },
}


# What each arm is without its tuning, as far as these records know.
AS_IT_COMES = {"init_seed": None, "data_seed": None}


def tuned(tmp_path: Path, before: dict[str, float] | None, after: dict[str, float]) -> list[str]:
    """The notes of a grid whose arms were tuned; beside it, the same arms as they came."""
    results, _ = make_grid(tmp_path / "tuned", after)
    arms = {label: {**arm, "as_it_comes": AS_IT_COMES} for label, arm in SWEEP["arms"].items()}
    record = {**results.grid, "sweep": {**SWEEP, "arms": arms}, "grid_id": "1" * 12}
    if before is None:
        write_json(ledger_of(results).grid_path("0" * 12), record)
        return tuning_notes(lesson(GridResults(results.logs, record)))
    as_they_come, _ = make_grid(tmp_path / "both", before)
    ledger = ledger_of(as_they_come)
    # The tuned trials into the same ledger, under ids of their own.
    for arm in record["arms"]:
        for seed, trial in arm["trials"].items():
            moved = f"9{trial[1:]}"
            (tmp_path / "tuned" / "runs" / trial).rename(ledger.runs_dir / moved)
            arm["trials"][seed] = moved
    write_json(ledger.grid_path("1" * 12), record)
    return tuning_notes(lesson(GridResults(as_they_come.logs, ledger.grid("1" * 12))))


def test_arms_that_were_not_tuned_say_nothing_of_it(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "mixed": 0.1})
    assert tuning_notes(lesson(results)) == []


def test_how_arms_were_tuned_is_told(tmp_path: Path) -> None:
    first, second = tuned(tmp_path, None, {"causal": 0.0, "mixed": 0.1})
    assert first.startswith(
        "Tuned by TPE and hyperband pruning on the validation split's bpb_full, 8 candidates an arm under seed 0"
    )
    assert "causal `optimizer.learning_rate=0.004` (2.0100; 5 of 8 candidates trained to the end, 2.5M tokens)" in first
    assert "mixed `optimizer.learning_rate=0.008`, `infill=psm`" in first
    assert second.startswith("Whether tuning changed a word can't be said here")


def test_a_grid_of_other_trials_is_not_what_was_tuned(tmp_path: Path) -> None:
    results, trials = make_grid(tmp_path, {"causal": 0.0, "mixed": 0.1})
    ledger_of(results).trial(trials["mixed"]["0"]).update(semantic={"budget": 5})
    arms = {label: {**arm, "as_it_comes": AS_IT_COMES} for label, arm in SWEEP["arms"].items()}
    record = {**results.grid, "sweep": {**SWEEP, "arms": arms}, "grid_id": "1" * 12}
    assert untuned(GridResults(results.logs, record)) is None


def test_words_that_survive_and_words_that_do_not(tmp_path: Path) -> None:
    worse, alike = {"causal": 0.0, "mixed": 0.1}, {"causal": 0.0, "mixed": 0.0}
    assert tuned(tmp_path / "one", worse, worse)[1] == (
        f"Every word survives tuning, against the arms as they come (grid {'0' * 12}): mixed stays worse."
    )
    assert tuned(tmp_path / "two", worse, alike)[1] == (
        f"Tuning changes words, against the arms as they come (grid {'0' * 12}): mixed was worse, is equivalent."
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
        (1, 1, ["History", "What was tried"]),
        (1, 2, ["History", "Importance", "Parallel coordinates"]),
        (2, 1, ["Front", "What was tried, bpb_full", "What was tried, flops"]),
    ],
)
def test_figures_of_a_study(directions: int, parameters: int, titles: list[str]) -> None:
    figures = dict(study_figures(study(directions, parameters), ["bpb_full", "flops"][:directions]))
    assert list(figures) == titles
    assert all(figure.axes for figure in figures.values())


def test_a_study_in_which_nothing_ended_has_no_figure_that_fails() -> None:
    empty = optuna.create_study()
    empty.ask()
    for _, figure in study_figures(empty, ["bpb_full"]):
        assert figure.axes


def test_sweeps_on_the_page(tmp_path: Path) -> None:
    shown = TuningStudies(SWEEP, {"causal": study(1, 1), "mixed": study(1, 2)})
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
    assert "Nothing came to its end yet." in page([], {}, [TuningStudies(SWEEP, {"causal": empty})])
