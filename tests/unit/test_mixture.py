from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.config.data import MixtureConfig, StageConfig
from ablate.data.batches.mixture import BLOCK_ROWS, Mixture, apportioned

BUDGET_ROWS = 40_000


def mixture(weights: Mapping[str, float], *stages: tuple[float, Mapping[str, float]], data_seed: int = 0) -> Mixture:
    config = MixtureConfig(
        weights=dict(weights),
        stages=tuple(StageConfig(from_fraction=share, weights=dict(later)) for share, later in stages),
        epochs=None,
        max_epochs=None,
        augmentation="every_epoch",
        packing="windows",
        document_mask=True,
        restart_positions=True,
    )
    return Mixture.of(config, data_seed, BUDGET_ROWS)


def test_place_equals_counting() -> None:
    mixed = mixture({"a": 0.5, "b": 0.3, "c": 0.2, "absent": 0.0}, (0.001, {"a": 0.1, "c": 0.9}), data_seed=3)
    assert mixed.sources == ("a", "b", "c")
    counts = [0, 0, 0]
    for row in range(5 * BLOCK_ROWS + 7):
        assert mixed.counts(row) == counts
        source, rank = mixed.place(row)
        assert rank == counts[source]
        assert mixed.row(source, rank, row + 1) == row
        counts[source] += 1


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=6), st.integers(10_000, 20_000))
def test_fractions_are_within_a_thousandth_at_any_prefix(weights: list[float], rows: int) -> None:
    given = {f"s{number}": weight for number, weight in enumerate(weights)}
    counts = mixture(given).counts(rows)
    assert sum(counts) == rows
    for count, weight in zip(counts, weights, strict=True):
        assert abs(count / rows - weight / sum(weights)) < 0.001


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6).filter(any), st.integers(0, 10**6))
def test_one_more_row_removes_no_row_of_any_source(weights: list[float], rows: int) -> None:
    steps = [more - less for less, more in zip(apportioned(weights, rows), apportioned(weights, rows + 1), strict=True)]
    assert sorted(steps) == [0] * (len(weights) - 1) + [1]
    assert all(weight > 0 for weight, step in zip(weights, steps, strict=True) if step)


def test_a_stage_begins_at_its_fraction_of_the_budget() -> None:
    mixed = mixture({"a": 1.0}, (0.25, {"a": 1, "b": 1}), (0.75, {"b": 1.0}))
    quarter = BUDGET_ROWS // 4
    assert mixed.counts(quarter - BLOCK_ROWS)[1] == 0
    assert mixed.counts(3 * quarter) == pytest.approx([2 * quarter, quarter], abs=BLOCK_ROWS)
    # The last stage goes on after the budget: an arm matched on another counter may read more.
    assert mixed.counts(2 * BUDGET_ROWS)[0] == pytest.approx(2 * quarter, abs=BLOCK_ROWS)


def test_the_order_of_the_weights_does_not_matter() -> None:
    first, second = mixture({"a": 1, "b": 3}), mixture({"b": 0.75, "a": 0.25})
    assert [first.place(row) for row in range(200)] == [second.place(row) for row in range(200)]


def test_the_seed_changes_the_order_inside_a_block() -> None:
    first, second = mixture({"a": 1, "b": 1}), mixture({"a": 1, "b": 1}, data_seed=1)
    assert [first.place(row)[0] for row in range(50)] != [second.place(row)[0] for row in range(50)]


def test_a_small_weight_gets_its_rows() -> None:
    assert mixture({"a": 0.9995, "b": 0.0005}).counts(BUDGET_ROWS)[1] == 20
