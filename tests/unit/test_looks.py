"""The noise that a ledger has seen, and what follows from it for a planned grid."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ablate.lessons.critical_values import critical_values
from ablate.lessons.looks import Weights, outlook
from ablate.lessons.noise import SeenNoise
from ablate.lessons.seen_noise import seen_noise
from tests.support.ledgers import make_grid, with_changes, with_documents

BASELINE: Weights = ((-1.0, 1.0, 0.0), (-1.0, 0.0, 1.0))
NOISE = SeenNoise(0.01, 8, 0.0, 1.0, 10, 1000, 1, True)


def test_noise_is_the_residual_of_arms_and_seeds(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "prefix": 0.1, "mixed": -0.2}, seeds=4)
    found = seen_noise(results.logs, [results.grid], "bpb_full", parameters=11, train_tokens=1000)
    noise = np.random.default_rng(5).normal(scale=0.002, size=(3, 4))
    residual = noise - noise.mean(axis=0) - noise.mean(axis=1, keepdims=True) + noise.mean()
    assert found is not None
    assert found.deviation == pytest.approx(np.sqrt((residual**2).sum() / 6))
    assert (found.degrees, found.grids, found.is_same_scale, found.document_error) == (6, 1, True, 0.0)
    far = seen_noise(results.logs, [results.grid], "bpb_full", parameters=1e9, train_tokens=1000)
    assert far == replace(found, is_same_scale=False)
    longer = seen_noise(results.logs, [results.grid], "bpb_full", parameters=11, train_tokens=5000)
    assert longer == replace(found, is_same_scale=False)


def test_the_nearest_scale_counts_and_no_trial_counts_twice(tmp_path: Path) -> None:
    small, _ = make_grid(tmp_path / "small", {"causal": 0.0, "prefix": 0.1})
    again = with_changes(small, grid_id="1" * 12)
    noise = seen_noise(small.logs, [again.grid, small.grid], "bpb_full", parameters=10, train_tokens=1000)
    assert noise is not None
    assert (noise.grids, noise.degrees) == (1, 2)


def test_one_seed_and_unknown_metrics_tell_no_noise(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "prefix": 0.1}, seeds=1)
    assert seen_noise(results.logs, [results.grid], "bpb_full", parameters=10, train_tokens=1000) is None
    assert seen_noise(results.logs, [results.grid], "infill_bpb_left", parameters=10, train_tokens=1000) is None


def test_documents_add_to_the_detectable_effect(tmp_path: Path) -> None:
    results, _ = make_grid(tmp_path, {"causal": 0.0, "prefix": 0.1}, seeds=3)
    bits = np.random.default_rng(1).normal(scale=0.5, size=(2, 30))
    results = with_documents(results, 30, lambda arm, seed: bits if arm == "prefix" else 0 * bits)
    noise = seen_noise(results.logs, [results.grid], "bpb_full", parameters=10, train_tokens=1000)
    assert noise is not None
    assert noise.document_error > 0.01
    weights: Weights = ((-1.0, 1.0),)
    plain = outlook(weights, [3], 0.05, replace(noise, document_error=0.0), [0.02])
    assert outlook(weights, [3], 0.05, noise, [0.02]).detectable_effect > plain.detectable_effect


def test_the_detectable_effect_is_that_of_the_last_look() -> None:
    [*_, last] = critical_values(BASELINE, (3, 4, 5), 0.05, True)
    told = outlook(BASELINE, [3, 4, 5], 0.05, NOISE, [0.02, 0.02])
    assert told.detectable_effect == pytest.approx(0.01 * last.minimum_detectable_effect)


def test_looks_end_early_where_noise_is_small_and_late_where_it_is_large() -> None:
    def trials(deviation: float, document_error: float = 0.0) -> float:
        noise = replace(NOISE, deviation=deviation, document_error=document_error)
        return outlook(BASELINE, [3, 4, 5, 6], 0.05, noise, [0.02, 0.02]).expected_trials

    assert trials(1e-5) == 9, "equivalent at the first look"
    assert trials(1.0) == pytest.approx(18, abs=0.5), "never decided, apart from false verdicts"
    assert 9 < trials(0.006) < trials(0.012) < 18
    assert trials(1e-5, document_error=0.05) > 17, "no number of seeds decides it"


def test_an_arm_without_an_open_comparison_stops() -> None:
    # The second contrast is far larger than what matters, so it stays open.
    weights: Weights = ((-1.0, 1.0, 0.0, 0.0), (0.0, 0.0, -30.0, 30.0))
    told = outlook(weights, [3, 6], 0.05, replace(NOISE, deviation=0.001), [0.02, 0.02])
    assert told.expected_trials == pytest.approx(2 * 3 + 2 * 6, abs=0.5)
    coarse = outlook(weights, [3, 6], 0.05, replace(NOISE, deviation=0.001), [0.02, 2.0])
    assert coarse.expected_trials == 4 * 3, "each contrast has its own smallest effect"
