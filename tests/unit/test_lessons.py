"""Lessons from a ledger: verdicts, gaps, rejected comparisons, files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from ablate.console import listed
from ablate.lessons.comparable import IncomparableError
from ablate.lessons.grid_results import GridResults
from ablate.lessons.lesson import Lesson
from ablate.records.grid import ContrastRecord
from ablate.records.provenance import Provenance
from ablate.records.trial import Status
from ablate.reports.curves import draw_curves
from ablate.reports.figure import save
from ablate.reports.markdown import markdown
from ablate.reports.notes import note_groups, notes
from ablate.reports.page import page as html_page
from ablate.reports.report import report
from ablate.reports.terminal import show
from ablate.reports.wording import fold
from tests.support.ledgers import change_counts, folder_of, ledger_of, make_grid, verdicts, with_changes


def test_a_lesson_from_the_ledger(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "good": -0.1, "bad": 0.1, "alike": 0.0})
    lesson = Lesson.of(results)
    assert verdicts(lesson) == {"good": "better", "bad": "worse", "alike": "equivalent"}
    table = lesson.table()
    assert len(table) == 8
    # The noise that `make_grid` draws, and standard errors by hand: variances moderated with 3 shared degrees, never
    # below a comparison's own.
    offsets, seeds = {"good": -0.1, "bad": 0.1, "alike": 0.0}, 3
    baseline, *arms = np.random.default_rng(5).normal(scale=0.002, size=(4, seeds))
    differences = {name: offsets[name] + noise - baseline for name, noise in zip(offsets, arms, strict=True)}
    shared = np.mean([difference.var(ddof=1) for difference in differences.values()])
    critical = set()
    for comparison in lesson.comparisons:
        assert comparison.low is not None
        assert comparison.high is not None
        difference = differences[comparison.contrast.name]
        own = difference.var(ddof=1)
        error = (max(own, (3 * shared + 2 * own) / 5) / seeds) ** 0.5
        assert comparison.difference == pytest.approx(difference.mean())
        assert (comparison.low + comparison.high) / 2 == pytest.approx(difference.mean())
        critical.add(round((comparison.high - comparison.low) / 2 / error, 6))
    # One value for all three comparisons, above that of a single one: Student's t with five degrees.
    assert len(critical) == 1
    assert 2.57 < critical.pop() < 5
    numbers = table[table["metric"] == "bpb_full"].set_index("arm")[["difference", "low", "high"]].drop("causal")
    assert numbers.to_numpy(float).tolist() == [[c.difference, c.low, c.high] for c in lesson.comparisons]
    assert table[table["metric"] == "bpb_full/code"]["verdict"].isna().all(), "verdicts on the primary metric only"
    page = markdown(lesson)
    assert "nan" not in page
    assert f"| bpb_full | good | {2 - 0.1 + 0.1 + arms[0].mean():.4f} |" in page
    assert "**better**" in page
    assert "Trained on other tasks: good, bad, alike (50% causal, 50% span_corruption)" in page


def test_a_report_writes_its_files_and_the_same_ones_again(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "good": -0.1})
    console = Console(file=(tmp_path / "out").open("w"), width=120)
    assert report(results, folder_of(results), console)
    first = {path.name: path.read_bytes() for path in folder_of(results).iterdir()}
    assert set(first) == {
        *("lesson.md", "lesson.csv", "lesson.html", "curves.png", "curves.pdf", "comparisons.png", "comparisons.pdf")
    }
    assert first["curves.png"].startswith(b"\x89PNG")
    assert report(results, folder_of(results), console)
    assert {path.name: path.read_bytes() for path in folder_of(results).iterdir()} == first
    console.file.close()
    printed = (tmp_path / "out").read_text().splitlines()
    *_, verdict, blank, notes, page = printed
    assert [verdict.split()[0], verdict.split()[-1]] == ["good", "better"]
    assert blank == ""
    assert [notes.split()[0], page.split()[0]] == ["Notes:", "Page:"]
    assert Path(notes.split()[1]) == folder_of(results) / "lesson.md"
    assert Path(page.split()[1]) == folder_of(results) / "lesson.html"
    assert not any(line.startswith("•") for line in printed), "notes are for --notes and for the files"


def test_notes_are_printed_above_the_table_if_wanted(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "good": -0.1})
    lesson = Lesson.of(results)
    printed = shown(lesson, tmp_path, width=60, with_notes=True)
    headings = [printed.index(f"\n{heading}\n") for heading in note_groups(lesson)]
    assert headings == sorted(headings)
    assert printed.index("• ") < printed.index("Declared: ")
    words = " ".join(printed.replace("•", " ").split())
    for note in notes(lesson):
        assert " ".join(note.split()) in words
    assert max(map(len, printed.splitlines())) <= 60


def test_models_that_are_no_better_than_a_unigram_model_are_marked_in_every_report(tmp_path: Path) -> None:
    results, trials = make_grid(tmp_path, {"causal": 0.0, "alike": 0.0, "far": 1.5}, seeds=5)
    lesson = Lesson.of(results)
    assert verdicts(lesson) == {"alike": "equivalent", "far": "no better than unigram: worse"}
    mark = "no better than unigram: worse"
    assert mark in " ".join(shown(lesson, tmp_path, width=80).split())
    assert shown(lesson, tmp_path, width=120).splitlines()[-1].endswith(mark), "a line an arm where there is room"
    assert f"| **{mark}** |" in markdown(lesson)
    assert mark in lesson.table()["verdict"].tolist()
    text = html_page([lesson])
    assert '<p class="verdict"><span class="tag">no better than unigram</span> worse' in text
    assert any(note.startswith("No better than unigram (far): on bpb_full") for note in notes(lesson))
    # At equal scores a model is no better.
    for trial in trials["alike"].values():
        scores = {"bpb_full": 2.0, "bpb_full_unigram": 2.0}
        ledger_of(results).trial(trial).update(evaluations={"eval": scores})
    fresh = GridResults(results.logs, results.grid)
    assert verdicts(Lesson.of(fresh))["alike"].startswith("no better than unigram: ")


def test_an_interval_beyond_the_smallest_effect_of_an_equivalent_arm_is_explained(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "alike": 0.0})
    lesson = Lesson.of(results)
    assert not any(note.startswith("Equivalent though") for note in notes(lesson))
    estimate = lesson.declared["bpb_full"]
    [comparison] = estimate.comparisons
    wide = replace(comparison, low=-0.025, high=0.01, margin=0.015)
    declared = {"bpb_full": replace(estimate, comparisons=(wide,))}
    [note] = [note for note in notes(replace(lesson, declared=declared)) if note.startswith("Equivalent though")]
    assert "beyond the smallest effect (alike)" in note


def shown(lesson: Lesson, tmp_path: Path, width: int, *, with_notes: bool = False) -> str:
    """What the terminal shows."""
    with (tmp_path / "out").open("w") as file:
        show(lesson, Console(file=file, width=width), with_notes=with_notes)
    return (tmp_path / "out").read_text()


def test_missing_trials_make_it_interim(tmp_path: Path) -> None:
    results, trials = make_grid(tmp_path, {"causal": 0.0, "bad": 0.1})
    ledger_of(results).trial(trials["bad"]["2"]).update(status=Status.FAILED, evaluations={})
    lesson = Lesson.of(results)
    assert verdicts(lesson)["bad"] == "interim: worse"
    assert lesson.primary is not None
    assert lesson.primary.comparisons[0].seeds == 2, "only seeds that both arms have"


def test_an_arm_without_results_takes_nothing_from_the_others(tmp_path: Path) -> None:
    results, trials = make_grid(tmp_path, {"causal": 0.0, "bad": 0.1, "gone": 0.0})
    for trial in trials["gone"].values():
        ledger_of(results).trial(trial).update(status=Status.FAILED, evaluations={})
    lesson = Lesson.of(results)
    assert verdicts(lesson) == {"bad": "interim: worse", "gone": "missing, 0/3 done"}
    assert "Interim: trials are missing (done: gone 0/3)" in markdown(lesson)


def test_scoring_in_another_way_takes_nothing_from_a_lesson(tmp_path: Path) -> None:
    results, trials = make_grid(tmp_path, {"causal": 0.0, "bad": 0.1})
    ledger_of(results).trial(trials["bad"]["2"]).update(status=Status.RUNNING)
    assert verdicts(Lesson.of(results))["bad"] == "worse"


def test_arms_on_different_numbers_of_devices_are_told_apart(tmp_path: Path) -> None:
    results, trials = make_grid(tmp_path, {"causal": 0.0, "good": -0.1})

    def trained_on(label: str, devices: int) -> None:
        for trial in trials[label].values():
            folder = ledger_of(results).trial(trial)
            folder.begin_attempt(ranks=devices)
            folder.update_attempt(from_step=0)
            folder.end_attempt("finished", status=Status.FINISHED)

    trained_on("causal", 2)
    trained_on("good", 2)
    assert "numbers of devices" not in "".join(notes(Lesson.of(GridResults(results.logs, results.grid))))
    trained_on("good", 4)
    text = "".join(notes(Lesson.of(GridResults(results.logs, results.grid))))
    assert "Trained on different numbers of devices: 2 (causal, good); 4 (good)." in text


def test_arms_on_different_processors_are_told_apart(tmp_path: Path) -> None:
    results, trials = make_grid(tmp_path, {"causal": 0.0, "good": -0.1})

    def trained_on(label: str, machine: str) -> None:
        for trial in trials[label].values():
            about = Provenance(ablate="1", python="3", versions={}, machine=machine)
            ledger_of(results).trial(trial).update(provenance=about)

    trained_on("causal", "Xeon (family 6, model 143), 2 cores")
    trained_on("good", "Xeon (family 6, model 143), 8 cores")
    assert "different processors" not in "".join(notes(Lesson.of(GridResults(results.logs, results.grid))))
    trained_on("good", "Xeon (family 6, model 85), 2 cores")
    text = "".join(notes(Lesson.of(GridResults(results.logs, results.grid))))
    assert "Xeon (family 6, model 143): causal (0), causal (1), causal (2); Xeon (family 6, model 85): good (0)" in text


def test_a_table_fits_80_columns_and_breaks_labels_and_verdicts_at_words(tmp_path: Path) -> None:
    long = "objective=mixed_prefix, architecture=encoder_decoder, mixture.weights.code=0.75"
    results, _ = make_grid(tmp_path, {"causal": 0.0, "good": -0.1, long: 1.5})
    results = with_changes(results, other_declarations=("earlier",))
    printed = shown(Lesson.of(results), tmp_path, width=80)
    assert "…" not in printed
    assert max(map(len, printed.splitlines())) <= 80
    rows = printed[printed.index("  objective=", printed.index("Declared")) :].splitlines()
    assert [row[2:20].rstrip() for row in rows] == [
        *("objective=", "mixed_prefix,", "architecture=", "encoder_decoder,", "mixture.weights.", "code=0.75")
    ]
    assert [row[60:].rstrip() for row in rows] == ["no better than", "unigram:", "exploratory: worse", "", "", ""]


@pytest.mark.parametrize(
    ("label", "width", "lines"),
    [
        ("causal / prefix_decoder", 30, ["causal / prefix_decoder"]),
        ("causal / prefix_decoder", 15, ["causal /", "prefix_decoder"]),
        ("a.b.c=0.001", 6, ["a.b.c=", "0.001"]),
        ("lr=0.00125", 5, ["lr=", "0.001", "25"]),
        ("unbreakable", 5, ["unbre", "akabl", "e"]),
        ("", 5, [""]),
    ],
)
def test_long_labels_are_folded_at_punctuation(label: str, width: int, lines: list[str]) -> None:
    assert list(fold(label, width)) == lines


def test_of_many_arms_the_best_are_shown_and_all_are_written(tmp_path: Path) -> None:
    offsets = {f"arm{number}": 0.01 * ((7 * number) % 40) for number in range(40)}
    results, _ = make_grid(tmp_path, offsets, seeds=2, baseline="arm5")
    lesson = Lesson.of(results)
    best = sorted(offsets, key=lambda label: offsets[label])[:3]
    assert lesson.shown_arms(4) == [label for label in offsets if label in {*best, "arm5"}]
    assert lesson.shown_arms(40) == list(offsets)
    with (tmp_path / "out").open("w") as file:
        assert report(results, folder_of(results), Console(file=file, width=120))
    printed = (tmp_path / "out").read_text()
    assert "Shown: the baseline and the 19 best arms. lesson.md and lesson.csv have 20 more." in printed
    assert listed(list(offsets)) == "arm0, arm1, arm2, arm3, arm4 and 35 more"
    assert all(f"| bpb_full | {label} |" in (folder_of(results) / "lesson.md").read_text() for label in offsets)


def test_an_arm_with_a_diverged_seed_is_left_out_of_comparisons_and_means(tmp_path: Path) -> None:
    results, trials = make_grid(tmp_path, {"causal": 0.0, "bad": 0.1, "wild": -0.5})
    ledger_of(results).trial(trials["wild"]["1"]).update(status=Status.DIVERGED)
    lesson = Lesson.of(results)
    assert verdicts(lesson)["wild"] == "diverged 1/3"
    assert verdicts(lesson)["bad"] == "worse"
    table = lesson.table()
    wild = table[(table["metric"] == "bpb_full") & (table["arm"] == "wild")]
    assert wild["verdict"].tolist() == ["diverged 1/3"]
    assert wild["mean"].isna().all()
    assert "| bpb_full | wild |  |  |  | **diverged 1/3** |" in markdown(lesson)
    for trial in trials["causal"].values():
        ledger_of(results).trial(trial).update(status=Status.DIVERGED, evaluations={})
    console = Console(file=(tmp_path / "out").open("w"), width=120)
    assert report(GridResults(results.logs, results.grid), folder_of(results), console)
    console.file.close()
    assert "Diverged: causal 3/3, wild 1/3;" in (folder_of(results) / "lesson.md").read_text()
    assert "diverged: causal 3/3" in (tmp_path / "out").read_text()


def test_two_scores_of_five_that_are_no_numbers_are_named_and_the_arm_is_diverged(tmp_path: Path) -> None:
    results, trials = make_grid(tmp_path, {"causal": 0.0, "wild": 0.0, "bad": 0.1}, seeds=5)
    for seed in ("1", "3"):
        ledger_of(results).trial(trials["wild"][seed]).update(evaluations={"eval": {"bpb_full": float("nan")}})
    lesson = Lesson.of(GridResults(results.logs, results.grid))
    assert verdicts(lesson) == {"wild": "diverged 2/5", "bad": "worse"}
    named = [note for note in notes(lesson) if "is not a finite number" in note]
    assert [note.split(":")[0] for note in named] == ["wild, seed 1", "wild, seed 3"]
    [note] = [note for note in notes(lesson) if note.startswith("Diverged: wild 2/5")]
    assert "A smaller optimizer.learning_rate" in note


def test_a_comparison_has_the_smallest_effect_of_its_own_or_of_its_unit(tmp_path: Path) -> None:
    def lesson_with(metric: str, own: float | None) -> Lesson:
        contrast = ContrastRecord("wide", metric, {"alike": 1.0, "causal": -1.0}, own)
        results, trials = make_grid(
            tmp_path / f"{metric} {own}", {"causal": 0.0, "alike": 0.0}, contrasts=(contrast,), smallest_effect=0.02
        )
        for trial in (trial for of_arm in trials.values() for trial in of_arm.values()):
            folder = ledger_of(results).trial(trial)
            scores = folder.record().evaluations["eval"]
            folder.update(evaluations={"eval": {**scores, metric: scores["bpb_full"]}})
        return Lesson.of(GridResults(results.logs, results.grid))

    effects = {
        (metric, own): lesson_with(metric, own).results.smallest_effect(lesson_with(metric, own).results.contrasts[0])
        for metric, own in (("bpb_full", None), ("bpb_full", 0.5), ("infill_exact_single_line", 0.1))
    }
    assert list(effects.values()) == [0.02, 0.5, 0.1]
    strict, lenient = lesson_with("bpb_full", 1e-6), lesson_with("bpb_full", 0.5)
    assert verdicts(strict)["wide"] == "undecided"
    assert verdicts(lenient)["wide"] == "equivalent"
    assert any("smallest effect that matters: 0.5." in note for note in notes(lenient))


def test_intervals_of_explored_metrics_say_that_they_are_not_adjusted(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "good": -0.1})
    lesson = Lesson.of(results)
    assert any(note.startswith("Metrics without a declared comparison (bpb_full/code)") for note in notes(lesson))
    words = " ".join(shown(lesson, tmp_path, width=80, with_notes=True).split())
    assert "no verdicts, because nothing was declared on them; intervals not adjusted for their number" in words


def test_single_sources_stand_behind_the_headline_metrics(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "good": -0.1})
    lesson = Lesson.of(results)
    brief = shown(lesson, tmp_path, width=80)
    assert "bpb_full/code" not in brief
    hint = "1 more metric, of sources and parts of the text: lesson.csv; --notes prints those of bpb_full"
    assert hint in " ".join(brief.split())
    complete = shown(lesson, tmp_path, width=80, with_notes=True)
    assert "bpb_full/code" in complete
    assert "more metric" not in complete
    headlines, details = markdown(lesson).split("## Single sources and parts of the text")
    assert "| bpb_full | good |" in headlines
    assert "| bpb_full/code |" not in headlines
    assert "| bpb_full/code | good |" in details


def test_seeds_that_a_verdict_takes_count_the_declared_looks(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "near": 0.002}, seeds=4, smallest_effect=0.003)
    one_look, looks = (
        Lesson.of(with_changes(results, declaration=declaration))
        for declaration in (results.declaration, replace(results.declaration, looks=(4, 5, 6, 8, 10, 12)))
    )
    assert one_look.required_seeds is not None
    assert looks.required_seeds is not None
    assert 4 < one_look.required_seeds < looks.required_seeds
    expected = f"A verdict takes about {looks.required_seeds} seeds with these looks: so many call an arm without"
    assert any(expected in note for note in notes(looks))


def test_what_was_declared_with_results_in_sight_is_post_hoc(tmp_path: Path) -> None:
    results, trials = make_grid(tmp_path, {"causal": 0.0, "bad": 0.1, "new": 0.1})
    results = with_changes(results, known_before=(trials["causal"]["0"], trials["bad"]["1"]))
    lesson = Lesson.of(results)
    assert verdicts(lesson) == {"bad": "post hoc: worse", "new": "worse"}
    assert "Post hoc (bad): trials of these arms were scored before" in markdown(lesson)
    results = with_changes(results, known_before=(trials["bad"]["1"],))
    assert verdicts(Lesson.of(results))["bad"] == "worse", "without the baseline nobody has seen the difference"


def test_a_baseline_under_a_second_name_is_found(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "bad": 0.1}, baseline="other name")
    second = replace(results.grid.arms[0], label="other name", same_as="causal")
    results = with_changes(results, arms=(*results.grid.arms, second))
    assert verdicts(Lesson.of(results)) == {"bad": "worse"}


def test_windows_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    results, trials = make_grid(tmp_path, {"causal": 0.0, "bad": 0.1})
    folder = ledger_of(results).trial(trials["bad"]["0"])
    change_counts(folder, train_tokens=999)
    path = folder.metrics_path
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text(json.dumps(rows[0]) + "\n" + json.dumps({**rows[1], "data/train_tokens": 999}) + "\n")
    with pytest.raises(IncomparableError, match="logged at different steps"):
        Lesson.of(results)


def test_unmatched_arms_are_refused_with_the_numbers(tmp_path: Path) -> None:
    results, trials = make_grid(tmp_path, {"causal": 0.0, "long": 0.1})
    for trial in trials["long"].values():
        change_counts(ledger_of(results).trial(trial), train_tokens=1020)
    with pytest.raises(IncomparableError, match=r"differ by 2\.0% in train_tokens.*causal 1,000, long 1,020"):
        Lesson.of(results)


@pytest.mark.parametrize("pairing", ["windows", "seed_only"])
def test_unpaired_arms_are_refused_unless_the_data_is_the_factor(tmp_path: Path, pairing: str) -> None:
    results, trials = make_grid(tmp_path, {"causal": 0.0, "other": 0.1}, pairing=pairing)
    row = {"step": 7, "data/train_tokens": 1000, "train/loss": 2.0, "data/windows": "others"}
    folder = ledger_of(results).trial(trials["other"]["1"])
    folder.metrics_path.write_text(json.dumps(row) + "\n")
    change_counts(folder, windows="others")
    if pairing == "seed_only":
        assert verdicts(Lesson.of(results))["other"] == "worse"
    else:
        with pytest.raises(IncomparableError, match="With seed 1 the arms causal and other read different windows"):
            Lesson.of(results)


def test_values_scored_in_another_way_do_not_count(tmp_path: Path) -> None:
    results, trials = make_grid(tmp_path, {"causal": 0.0, "other": 0.1})
    ledger_of(results).trial(trials["other"]["0"]).update(evaluations={"older": {"bpb_full": 0.0}})
    assert results.values("bpb_full").loc["other"].dropna().index.tolist() == ["1", "2"]
    assert results.paired_values(results.contrasts[0]).columns.tolist() == ["1", "2"]


def test_curves_are_drawn(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "good": -0.1})
    for path in save(draw_curves(Lesson.of(results)), tmp_path, "curves", ("png", "pdf", "svg")):
        assert path.stat().st_size > 5000
