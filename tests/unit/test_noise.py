"""Spans: where they may lie, and that ratios, lengths and places have the distributions that are asked for."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ablate.errors import UsageError
from ablate.objectives.noise import NOISES, Spans, checked_noise, dynamic_ratio, fixed_ratio, place_spans

SEEDS = st.integers(0, 2**32)
LEAST_P = 1e-3


def lie_apart(spans: Spans, tokens: int) -> bool:
    starts, ends = spans.T
    inside = len(spans) == 0 or (starts[0] >= 0 and ends[-1] <= tokens)
    return bool(inside and (ends > starts).all() and (starts[1:] > ends[:-1]).all())


@given(tokens=st.integers(0, 500), seed=SEEDS, low=st.floats(0, 0.5), more=st.floats(0, 0.5))
def test_dynamic_spans_are_apart_inside_and_meet_the_ratio(tokens: int, seed: int, low: float, more: float) -> None:
    knobs: dict[str, Any] = {"ratio_min": low, "ratio_max": low + more, "span_min_tokens": 2, "span_max_tokens": 8}
    spans = dynamic_ratio(tokens, np.random.default_rng(seed), **knobs)
    lengths = spans[:, 1] - spans[:, 0]
    assert lie_apart(spans, tokens)
    assert (lengths <= 8).all()
    assert (lengths < 2).sum() <= 1, "only one may be shortened"
    assert lengths.sum() <= (low + more) * tokens
    if low + more <= 0.5:
        assert lengths.sum() >= int(low * tokens)


@given(tokens=st.integers(0, 500), seed=SEEDS, ratio=st.floats(0, 0.5), mean=st.floats(1.5, 70))
def test_fixed_spans_take_the_ratio_in_spans_of_the_mean(tokens: int, seed: int, ratio: float, mean: float) -> None:
    spans = fixed_ratio(tokens, np.random.default_rng(seed), ratio=ratio, mean_span_tokens=mean)
    noised = max(0, min(round(ratio * tokens), tokens - 1))
    assert lie_apart(spans, tokens)
    assert (spans[:, 1] - spans[:, 0]).sum() == noised
    if noised:
        wanted = max(1, round(noised / mean))
        assert len(spans) == min(wanted, noised, tokens - noised + 1)


def test_dynamic_ratio_and_lengths_are_uniform() -> None:
    rng = np.random.default_rng(0)
    ratios, lengths = [], np.zeros(17, int)
    for _ in range(3000):
        spans = dynamic_ratio(2000, rng, ratio_min=0.1, ratio_max=0.3, span_min_tokens=2, span_max_tokens=16)
        taken = spans[:, 1] - spans[:, 0]
        ratios.append(taken.sum() / 2000)
        # One span: of many draws' spans together a chi-square would see the stopping rule (long ones stop it sooner).
        lengths[taken[len(taken) // 2]] += 1
    counts, _ = np.histogram(ratios, bins=10, range=(0.1, 0.3))
    assert stats.chisquare(counts).pvalue > LEAST_P
    assert lengths[:2].sum() <= 3000 * 2 / 22, "shortened ones are one in a row"
    assert stats.chisquare(lengths[2:]).pvalue > LEAST_P


def test_fixed_lengths_are_uniform_among_all_that_add_up() -> None:
    """The marginal of one part of a composition of n in k parts: C(n − l − 1, k − 2) / C(n − 1, k − 1)."""
    rng, draws, noised, count = np.random.default_rng(0), 6000, 30, 10
    seen = np.zeros(noised, int)
    for _ in range(draws):
        spans = fixed_ratio(200, rng, ratio=0.15, mean_span_tokens=3.0)
        assert len(spans) == count
        seen[spans[4, 1] - spans[4, 0]] += 1
    shares = [math.comb(noised - length - 1, count - 2) / math.comb(noised - 1, count - 1) for length in range(1, 9)]
    expected = np.array([*shares, 1 - sum(shares)]) * draws
    assert stats.chisquare([*seen[1:9], seen[9:].sum()], expected).pvalue > LEAST_P


def test_places_are_uniform_among_all_placements() -> None:
    rng = np.random.default_rng(0)
    seen: dict[tuple[int, ...], int] = {}
    for _ in range(6000):
        key = tuple(place_spans(np.array([2, 1]), 7, rng)[:, 0].tolist())
        seen[key] = seen.get(key, 0) + 1
    # 4 kept tokens have 5 gaps, of which 2 are chosen.
    assert len(seen) == 10
    assert stats.chisquare(list(seen.values())).pvalue > LEAST_P


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "dynamc_ratio"}, "x.kind=dynamc_ratio: no such noise. Did you mean dynamic_ratio?"),
        ({"ratio": 0.1}, "x.kind=: no such noise"),
        ({"kind": "fixed_ratio", "ratio": 0.1}, "x.mean_span_tokens: missing"),
        ({"kind": "fixed_ratio", "ratio": 0.9, "mean_span_tokens": 1.0}, "leaves no unmasked token between two spans"),
    ],
)
def test_wrong_noise_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("?", r"\?")):
        checked_noise(given, "x")


def test_silent_noise_says_so() -> None:
    assert NOISES["fixed_ratio"].is_noop({"ratio": 0.0, "mean_span_tokens": 3.0})
    assert not NOISES["fixed_ratio"].is_noop({"ratio": 0.1, "mean_span_tokens": 3.0})
