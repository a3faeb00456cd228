"""What transforms may and may not do, for any piece and any draw."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.config import InfillConfig, ObjectiveConfig, TaskConfig
from ablate.errors import UsageError
from ablate.objectives.example import Example, SpecialTokens
from ablate.objectives.objective import Objective, checked_arms
from ablate.objectives.spans import drawn_spans
from ablate.objectives.tasks import TASKS, prefix, span_corruption

SPECIAL = SpecialTokens(end_of_text=0, separator=1, end_of_mask=2, masks=tuple(range(3, 67)))
KNOBS: dict[str, Any] = {
    "ratio_min": 0.05,
    "ratio_max": 0.25,
    "span_min_tokens": 2,
    "span_max_tokens": 16,
    "loss_on": "all",
}
PIECES = st.lists(st.integers(100, 200), min_size=1, max_size=300).map(lambda ids: np.array(ids, np.int32))
SEEDS = st.integers(0, 2**32)


def restored(tokens: list[int]) -> list[int]:
    """The piece that span corruption was made from, read off its own output by the format's rules."""
    if 1 not in tokens:
        return tokens
    context, targets = tokens[: tokens.index(1) - 1], tokens[tokens.index(1) + 1 :]
    assert tokens[tokens.index(1) - 1] == 0
    spans: dict[int, list[int]] = {}
    for token in targets:
        if token in SPECIAL.masks:
            mask = token
            spans[mask] = []
        elif token != SPECIAL.end_of_mask:
            spans[mask].append(token)
    return [piece for token in context for piece in spans.get(token, [token])]


@given(piece=PIECES, seed=SEEDS)
def test_span_corruption_loses_and_invents_nothing(piece: np.ndarray, seed: int) -> None:
    example = span_corruption(piece, np.random.default_rng(seed), SPECIAL, **KNOBS)
    assert restored(example.tokens_T.tolist()) == piece.tolist()
    assert example.loss_T.all()


@given(piece=PIECES, seed=SEEDS)
def test_span_corruption_on_targets_asks_for_spans_and_their_ends_alone(piece: np.ndarray, seed: int) -> None:
    example = span_corruption(piece, np.random.default_rng(seed), SPECIAL, **{**KNOBS, "loss_on": "targets"})
    asked = example.tokens_T[example.loss_T].tolist()
    tokens = example.tokens_T.tolist()
    if 1 in tokens:
        targets = tokens[tokens.index(1) + 1 :]
        assert asked == [token for token in targets if token not in SPECIAL.masks]


@given(tokens=st.integers(1, 500), seed=SEEDS, low=st.floats(0, 0.5), more=st.floats(0, 0.5))
def test_spans_are_apart_inside_and_meet_the_ratio(tokens: int, seed: int, low: float, more: float) -> None:
    spans = drawn_spans(
        tokens,
        np.random.default_rng(seed),
        ratio_min=low,
        ratio_max=low + more,
        span_min_tokens=2,
        span_max_tokens=8,
    )
    lengths = spans[:, 1] - spans[:, 0]
    assert (lengths >= 1).all()
    assert (lengths <= 8).all()
    assert (lengths < 2).sum() <= 1, "only one may be shortened"
    assert (spans[1:, 0] > spans[:-1, 1]).all(), "a kept token between two spans"
    assert len(spans) == 0 or (spans[0, 0] >= 0 and spans[-1, 1] <= tokens)
    assert lengths.sum() <= (low + more) * tokens
    if low + more <= 0.5:
        assert lengths.sum() >= int(low * tokens)


def test_span_ratio_and_places_are_uniform() -> None:
    """Over many draws: the ratio's mean is the middle of its bounds, and every token is as likely to be taken."""
    rng = np.random.default_rng(0)
    taken, ratios = np.zeros(100), []
    for _ in range(4000):
        spans = drawn_spans(100, rng, ratio_min=0.1, ratio_max=0.3, span_min_tokens=2, span_max_tokens=6)
        for start, end in spans:
            taken[start:end] += 1
        ratios.append((spans[:, 1] - spans[:, 0]).sum() / 100)
    # int() of the drawn number of tokens takes half a token off on average.
    assert np.mean(ratios) == pytest.approx(0.195, abs=0.004)
    assert np.std(ratios) == pytest.approx(0.2 / np.sqrt(12), abs=0.004)
    assert taken[10:90].std() / taken[10:90].mean() < 0.08


def test_no_place_in_a_piece_has_spans_of_its_own_length() -> None:
    rng = np.random.default_rng(1)
    first, last = [], []
    for _ in range(4000):
        spans = drawn_spans(240, rng, ratio_min=0.1, ratio_max=0.2, span_min_tokens=2, span_max_tokens=16)
        first.append(spans[0, 1] - spans[0, 0])
        last.append(spans[-1, 1] - spans[-1, 0])
    assert np.mean(first) == pytest.approx(np.mean(last), rel=0.04)


@given(piece=PIECES, seed=SEEDS)
def test_prefix_is_a_region_without_loss_and_something_follows(piece: np.ndarray, seed: int) -> None:
    example = prefix(piece, np.random.default_rng(seed), SPECIAL, share_min=0.0, share_max=1.0)
    length = int(example.region_T.sum())
    assert example.region_T.tolist() == [1] * length + [0] * (len(piece) - length)
    assert (example.loss_T == (example.region_T == 0)).all()
    assert length < len(piece)


def test_prefix_length_is_uniform() -> None:
    rng = np.random.default_rng(0)
    piece = np.arange(101, dtype=np.int32)
    lengths = [int(prefix(piece, rng, SPECIAL, share_min=0.2, share_max=0.8).region_T.sum()) for _ in range(4000)]
    assert min(lengths) == 20
    assert max(lengths) == 81
    assert np.mean(lengths) == pytest.approx(50.5, abs=1)


def mixed(probability: float, data_seed: int = 0) -> Objective:
    config = ObjectiveConfig(
        tasks={
            "causal": TaskConfig(task="causal", probability=1 - probability, parameters={}),
            "corrupt": TaskConfig(task="span_corruption", probability=probability, parameters=KNOBS),
        }
    )
    return Objective.from_config(config, InfillConfig(format="none"), SPECIAL, data_seed)


TOKENS, DOCUMENTS = np.arange(100, 200, dtype=np.int32), np.repeat([4, 5], [30, 70])


def test_rows_are_pure_in_seed_and_number() -> None:
    one, two = mixed(0.5), mixed(0.5)
    forward = [one.example(row, TOKENS, DOCUMENTS)[0].tokens_T.tolist() for row in range(30)]
    backward = [two.example(row, TOKENS, DOCUMENTS)[0].tokens_T.tolist() for row in reversed(range(30))]
    assert forward == backward[::-1]
    other = [mixed(0.5, 1).example(row, TOKENS, DOCUMENTS)[0].tokens_T.tolist() for row in range(30)]
    assert forward != other


def test_tasks_are_drawn_with_their_probabilities() -> None:
    drawn = [mixed(0.3).example(row, TOKENS, DOCUMENTS)[1] for row in range(3000)]
    assert np.mean(drawn) == pytest.approx(0.3, abs=0.03)


def test_documents_of_a_row_are_corrupted_each_by_itself() -> None:
    example, _ = mixed(1.0).example(7, TOKENS, DOCUMENTS)
    pieces = [example.tokens_T[example.document_T == document].tolist() for document in (1, 2)]
    assert [restored(piece) for piece in pieces] == [TOKENS[:30].tolist(), TOKENS[30:].tolist()]


def test_joined_examples_keep_segments_and_regions_apart() -> None:
    piece = np.arange(4, dtype=np.int32)
    joined = Example.joined([Example.of_piece(piece, region_tokens=2, loss_from=2)] * 2)
    assert joined.document_T.tolist() == [1, 1, 1, 1, 2, 2, 2, 2]
    assert joined.region_T.tolist() == [1, 1, 0, 0, 2, 2, 0, 0]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"a": ("causl", 1.0, {})}, r"objective\.tasks\.a\.task=causl: no such task. Did you mean causal\?"),
        ({"a": ("causal", 0.5, {})}, r"must sum to 1; given a 0\.5, which is 0\.5"),
        ({"a": ("prefix", 1.0, {"share_min": 0.0})}, r"objective\.tasks\.a\.share_max: missing"),
        ({"a": ("causal", 1.0, {"share": 1})}, r"objective\.tasks\.a\.share: unknown key"),
        ({"a": ("prefix", 1.0, {"share_min": 0.0, "share_max": 1.5})}, r"a\.share_max=1\.5: should be less than"),
    ],
)
def test_wrong_objectives_are_refused(tasks: dict[str, tuple[str, float, dict[str, Any]]], message: str) -> None:
    config = ObjectiveConfig(
        tasks={label: TaskConfig(task=t, probability=p, parameters=q) for label, (t, p, q) in tasks.items()}
    )
    with pytest.raises(UsageError, match=message):
        checked_arms(config)


def test_a_task_that_cannot_be_drawn_is_none() -> None:
    assert [arm.label for arm in mixed(0.0).arms] == ["causal"]
    assert set(TASKS) >= {"causal", "prefix", "span_corruption"}
