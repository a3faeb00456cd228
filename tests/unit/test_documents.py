"""Held-out documents in lessons: their contributions, their variance, and intervals that cover other documents."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ablate.lessons.contrast import Contrast, against_baseline
from ablate.lessons.documents import Documents
from ablate.lessons.estimate import compare
from ablate.lessons.grid_results import GridResults
from ablate.lessons.lesson import Lesson
from ablate.lessons.variance import variance_components
from ablate.reports.lesson_json import lesson_json
from ablate.reports.notes import notes
from ablate.reports.page import page
from tests.support.ledgers import make_grid, with_documents

PAIR = list(against_baseline(["a", "b"], "a", "m"))


def made(tmp_path: Path, documents: int = 60, shared: float = 0.02) -> GridResults:
    """A grid of two arms, whose documents move the second arm by `shared` bits per byte each."""
    results, _ = make_grid(tmp_path, {"causal": 0.0, "other": 0.01}, seeds=4)
    by_document = np.random.default_rng(1).normal(scale=shared, size=(2, documents))
    return with_documents(results, documents, lambda label, seed: by_document * (label == "other"))


def test_variance_components_recover_simulated_ones(tmp_path: Path) -> None:
    seeds, documents = 20, 200
    results, _ = make_grid(tmp_path, {"causal": 0.0, "other": 0.1}, seeds=seeds)
    rng = np.random.default_rng(0)
    by_document = rng.normal(scale=0.4, size=(2, documents))

    def bits(label: str, seed: int) -> np.ndarray:
        of_seed = rng.normal(scale=0.05) + rng.normal(scale=0.6, size=(2, documents))
        return (by_document + of_seed) * (label == "other")

    [comparison] = Lesson.of(with_documents(results, documents, bits)).comparisons
    variance = comparison.variance
    assert variance is not None
    # Of two sources with as many documents each.
    assert variance.document == pytest.approx(0.4**2 / documents / 2, rel=0.2)
    assert variance.seed_by_document == pytest.approx(0.6**2 / documents / seeds / 2, rel=0.1)
    assert variance.seed == pytest.approx(0.05**2 / seeds, rel=0.7)
    assert variance.document_degrees == pytest.approx(2 * (documents - 1), rel=0.05)


def test_a_source_of_several_readers_has_the_documents_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.ledgers.SOURCES", ("code.a", "code.b"))
    documents = Documents(made(tmp_path))
    [of_source, whole] = (
        documents.of_contrast(*against_baseline(["causal", "other"], "causal", metric))
        for metric in ("bpb_full/code", "bpb_full")
    )
    assert list(of_source) == ["code.a", "code.b"]
    assert all(np.array_equal(of_source[name], whole[name]) for name in whole)
    monkeypatch.setattr("tests.support.ledgers.SOURCES", ("code.a", "codes"))
    [contrast] = against_baseline(["causal", "other"], "causal", "bpb_full/code")
    assert list(Documents(made(tmp_path / "other")).of_contrast(contrast)) == ["code.a"]


def test_a_comparison_has_the_interval_over_seeds_and_documents_and_the_one_over_seeds_alone(tmp_path: Path) -> None:
    lesson = Lesson.of(made(tmp_path))
    [comparison] = lesson.comparisons
    assert comparison.low is not None
    assert comparison.low_over_seeds is not None
    assert comparison.low < comparison.low_over_seeds
    contributions = Documents(lesson.results).contributions(lesson.results.contrasts)
    values = lesson.results.values("bpb_full")
    [alone] = compare(values, lesson.results.contrasts, 0.95, [4]).comparisons
    assert (comparison.low_over_seeds, comparison.high_over_seeds) == (alone.low, alone.high)
    # By hand: a document's mean over seeds, without what the seeds leave of chance.
    variance = sum(
        60 / 59 * float((table.mean(axis=0) ** 2 - table.var(axis=0, ddof=1) / 4).sum())
        for table in contributions["other"].values()
    )
    assert comparison.document_error == pytest.approx(variance**0.5)
    documents = (comparison.difference - comparison.low) ** 2 - (comparison.difference - comparison.low_over_seeds) ** 2
    assert 1.95 < (documents / variance) ** 0.5 < 2.05, "Student's t with many degrees"
    assert comparison.margin is not None
    assert alone.margin is not None
    one_sided = (comparison.margin - comparison.difference) ** 2 - (alone.margin - alone.difference) ** 2
    assert 1.62 < (one_sided / variance) ** 0.5 < 1.7
    [row] = lesson.table().query("metric == 'bpb_full' and arm == 'other'").to_dict("records")
    [shown] = [each for each in lesson_json(lesson.results, {}).comparisons if each.metric == "bpb_full"]
    assert row["low_over_seeds"] == shown.low_over_seeds == comparison.low_over_seeds
    assert row["document_error"] == shown.document_error == comparison.document_error
    written = f"[{comparison.low_over_seeds:+.4f}, {comparison.high_over_seeds:+.4f}]"
    assert any(f"on these documents alone they are other {written}" in note for note in notes(lesson))
    assert f"over seeds alone {written.replace('-', '−')}" in page([lesson])


def test_contributions_are_those_of_a_ratio(tmp_path: Path) -> None:
    """Where an arm is worse by the same bits per byte everywhere, no document counts, whatever its length."""
    results, _ = make_grid(tmp_path, {"causal": 0.0, "other": 0.1}, seeds=3)
    results = with_documents(results, 30, lambda label, seed: np.full((2, 30), 0.1 * (label == "other")))
    for table in Documents(results).of_contrast(results.contrasts[0]).values():
        assert table.shape == (3, 30)
        assert np.abs(table).max() < 1e-12


def test_a_source_of_its_own_weighs_more_than_in_the_mean_over_sources(tmp_path: Path) -> None:
    results = made(tmp_path)
    documents, [contrast] = Documents(results), results.contrasts
    whole = documents.of_contrast(contrast)
    own = documents.of_contrast(Contrast("other", "bpb_full/code", contrast.weights))
    assert set(whole) == {"code", "english"}
    assert set(own) == {"code"}
    assert own["code"] == pytest.approx(2 * whole["code"])


@pytest.mark.parametrize("kept", ["none", "one document a source", "one seed"])
def test_intervals_without_known_documents_cover_seeds_alone_and_say_so(tmp_path: Path, kept: str) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "other": 0.01}, seeds=4)
    if kept != "none":
        count = 1 if kept == "one document a source" else 20
        scored = ["0"] if kept == "one seed" else None
        results = with_documents(results, count, lambda label, seed: np.zeros((2, count)), scored)
    lesson = Lesson.of(results)
    [comparison] = lesson.comparisons
    assert comparison.low is not None
    assert (comparison.low, comparison.document_error) == (comparison.low_over_seeds, None)
    assert any(
        note.startswith("The intervals cover other seeds on these documents, not other") for note in notes(lesson)
    )


def test_documents_that_hide_the_smallest_effect_are_told_and_no_number_of_seeds_is_advised(tmp_path: Path) -> None:
    lesson = Lesson.of(made(tmp_path, documents=20, shared=0.2))
    assert lesson.required_seeds is None
    [note] = [note for note in notes(lesson) if note.startswith("No number of seeds gives every verdict")]
    assert "evaluation.suites.SUITE.documents_per_source=N (bits_per_byte)" in note


def test_intervals_cover_new_seeds_and_new_documents() -> None:
    """Five seeds, 80 documents with half of the variance: over seeds alone far more intervals miss."""
    rng = np.random.default_rng(0)
    wrong = wrong_alone = 0
    for _ in range(400):
        documents_AD = 0.45 * 80**0.5 * rng.normal(size=(2, 1, 80))
        scores_ASD = documents_AD + 80**0.5 * 0.3 * rng.normal(size=(2, 5, 80))
        values_AS = rng.normal(size=(2, 5)) + scores_ASD.mean(axis=-1)
        contributions_SD = (scores_ASD - scores_ASD.mean(axis=-1, keepdims=True))[1] / 80
        contributions_SD -= (scores_ASD - scores_ASD.mean(axis=-1, keepdims=True))[0] / 80
        values = pd.DataFrame(values_AS, index=["a", "b"])
        [one] = compare(values, PAIR, 0.95, [5], {"b": {"source": contributions_SD}}).comparisons
        assert one.low is not None
        assert one.high is not None
        assert one.low_over_seeds is not None
        assert one.high_over_seeds is not None
        wrong += not one.low <= 0 <= one.high
        wrong_alone += not one.low_over_seeds <= 0 <= one.high_over_seeds
    assert wrong / 400 <= 0.06
    assert wrong_alone / 400 > 0.1


def test_documents_that_do_not_differ_add_nothing() -> None:
    rng = np.random.default_rng(2)
    own_SD = rng.normal(size=(6, 200)) / 200
    own_SD -= own_SD.mean(axis=0)
    variance = variance_components(rng.normal(size=6), {"source": own_SD})
    assert variance.document == 0.0
