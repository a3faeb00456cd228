"""What transforms may and may not do, for any piece and any draw, for every objective and infill of ours."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ablate import CONF
from ablate.config.trial import InfillConfig, ObjectiveConfig, ObjectiveStageConfig, TaskConfig
from ablate.errors import UsageError
from ablate.objectives.example import Example, SpecialTokens, Tokens, split_end_of_text
from ablate.objectives.infill import FORMATS, Infill
from ablate.objectives.objective import Objective, RowTransform
from ablate.objectives.tasks import TASKS, prefix, span_corruption
from tests.support.inverse import source_of

SPECIAL = SpecialTokens.consecutive(0, mask_sentinels=300)
EOT = SPECIAL.end_of_text
TEXT = st.lists(st.integers(1000, 2000), max_size=300).map(lambda ids: np.array(ids, np.int32))
SEEDS = st.integers(0, 2**32)
LEAST_P = 1e-3


class Letters:
    """A splitter of tokens that are one character each; token 1010 ends a line."""

    def characters(self, tokens_T: Tokens) -> int:
        return len(tokens_T)

    def lines(self, tokens_T: Tokens) -> np.ndarray:
        return np.array([0, *(np.flatnonzero(tokens_T[:-1] == 1010) + 1)]) if len(tokens_T) else np.array([], int)

    def split(self, tokens_T: Tokens, offsets: Any) -> list[Tokens]:
        return np.split(tokens_T, offsets)


def yaml_of(group: str, name: str) -> dict[str, Any]:
    content = yaml.safe_load((CONF / group / f"{name}.yaml").read_text())
    assert isinstance(content, dict)
    return content


def names(group: str) -> list[str]:
    return sorted(path.stem for path in Path(CONF / group).glob("*.yaml"))


def rows_of(
    name: str, infill: str = "none", data_seed: int = 0, budget_rows: int = 4000, **changes: Any
) -> RowTransform:
    tasks = {
        label: TaskConfig(
            task=given.pop("task"), probability=given.pop("probability"), mode=given.pop("mode", None), parameters=given
        )
        for label, given in yaml_of("objective", name)["tasks"].items()
    }
    given = yaml_of("infill", infill) | changes
    fixed = {key: given.pop(key) for key in ("format", "rate", "level", "scope")}
    stages = tuple(ObjectiveStageConfig(**stage) for stage in yaml_of("objective", name).get("stages", ()))
    config = ObjectiveConfig(tasks=tasks, stages=stages)
    objective = Objective.from_config(config, InfillConfig(**fixed, parameters=given))
    return RowTransform(objective, SPECIAL, data_seed, Letters(), budget_rows)


def sources(example: Example) -> list[int]:
    """The window that a row was made from."""
    pieces = [example.tokens_T[example.document_T == number].tolist() for number in np.unique(example.document_T)]
    return [token for piece in pieces for token in source_of(piece, SPECIAL)]


@pytest.mark.parametrize("scope", ["document", "context"])
@pytest.mark.parametrize("level", ["token", "char", "line"])
@pytest.mark.parametrize("infill", names("infill"))
@pytest.mark.parametrize("objective", names("objective"))
def test_rows_lose_and_invent_nothing(objective: str, infill: str, level: str, scope: str) -> None:
    """A window can be restored from its transformed row, and only tasks with bidirectional spans give a row any."""
    made = rows_of(objective, infill, level=level, scope=scope)
    rng = np.random.default_rng(0)
    has_spans: dict[int, bool] = {}
    for row in range(25):
        lengths = rng.integers(1, 120, size=3)
        texts = [rng.integers(1000, 1030, size=length) for length in lengths]
        # A window begins inside a document, holds a whole one, and ends inside a third.
        window = np.array([*texts[0], EOT, EOT, *texts[1], EOT, EOT, *texts[2]], np.int32)
        documents = (int(lengths[0]) + 1, int(lengths[1]) + 2, int(lengths[2]) + 1)
        example, index = made.example(row, window, documents)
        assert sources(example) == window.tolist()
        assert len(example.loss_T) == len(example.span_T) == len(example.document_T) == len(example.tokens_T)
        arm = made.objective.tasks[index]
        infill_merges = made.objective.infill is not None and made.objective.infill.merges_documents
        is_moved = SPECIAL.end_of_mask in example.tokens_T
        is_merged = arm.merges_documents or (arm.task.keeps_order and infill_merges and is_moved)
        assert np.unique(example.document_T).tolist() == ([1] if is_merged else [1, 2, 3])
        has_spans[index] = has_spans.get(index, False) or bool(example.span_T.any())
    assert has_spans == {index: made.objective.tasks[index].has_bidirectional_spans for index in has_spans}


def test_a_stage_draws_its_own_tasks_by_the_row_that_is_read() -> None:
    made = rows_of("stages", budget_rows=1000)
    labels = [task.label for task in made.objective.tasks]
    drawn = [labels[made.example(row, TOKENS, DOCUMENTS)[1]] for row in range(1000)]
    assert set(drawn[:900]) == {"causal"}
    assert set(drawn[900:]) == {"s", "r", "x"}
    assert 30 < drawn.count("s") < 70
    # A row that is read again keeps its draws and takes the tasks of the stage that it is read in.
    assert labels[made.example(5, TOKENS, DOCUMENTS, 950)[1]] != "causal"
    assert labels[made.example(950, TOKENS, DOCUMENTS, 5)[1]] == "causal"


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([(0.5, {"spans": 1.0})], "objective.stages.0.probabilities.spans: the objective has no such task."),
        ([(0.5, {"span_corruption": 0.4})], "objective.stages.0.probabilities: the probabilities must sum to 1"),
        ([(0.5, {"causal": 1.0}), (0.4, {"causal": 1.0})], "objective.stages: their from_fraction must rise"),
    ],
)
def test_wrong_stages_are_named(stages: list[tuple[float, dict[str, float]]], message: str) -> None:
    given = yaml_of("objective", "span_corruption")["tasks"]["span_corruption"]
    parameters = {key: value for key, value in given.items() if key not in ("task", "probability")}
    tasks = {
        "causal": TaskConfig("causal", 1.0, {}),
        "span_corruption": TaskConfig("span_corruption", 0.0, parameters),
    }
    config = ObjectiveConfig(tasks, tuple(ObjectiveStageConfig(*stage) for stage in stages))
    with pytest.raises(UsageError, match=re.escape(message)):
        Objective.from_config(config, InfillConfig("none", 0.0, "token", "document", {}))


def test_loss_falls_on_a_random_half_and_the_rows_are_causal_ones() -> None:
    made, plain = rows_of("random_loss"), rows_of("causal")
    fractions = []
    for row in range(50):
        one, other = (rows.example(row, TOKENS, DOCUMENTS)[0] for rows in (made, plain))
        assert one.tokens_T.tolist() == other.tokens_T.tolist()
        assert one.document_tokens == other.document_tokens
        assert not one.spans
        fractions.append(one.loss_T.mean())
    assert np.mean(fractions) == pytest.approx(0.5, abs=0.03)


def test_infill_across_documents_changes_no_row_in_which_nothing_moves() -> None:
    across, plain = rows_of("causal", "psm", scope="context", rate=0.5), rows_of("causal")
    window = np.arange(1000, 1060, dtype=np.int32)
    lengths = [across.example(row, window, (20, 30, 10))[0] for row in range(40)]
    unmoved = [row for row, example in enumerate(lengths) if len(example) == len(window)]
    assert 10 < len(unmoved) < 30
    assert {lengths[row].document_tokens for row in range(40) if row not in unmoved} == {(64,)}
    for row in unmoved:
        one, other = lengths[row], plain.example(row, window, (20, 30, 10))[0]
        assert one.document_tokens == other.document_tokens == (20, 30, 10)
        assert one.tokens_T.tolist() == other.tokens_T.tolist()
        assert one.loss_T.tolist() == other.loss_T.tolist()


@given(text=TEXT, seed=SEEDS, opens=st.booleans(), closes=st.booleans(), loss_on=st.sampled_from(["all", "targets"]))
def test_span_corruption_moves_spans_and_asks_for_them(
    text: Tokens, seed: int, opens: bool, closes: bool, loss_on: Any
) -> None:
    piece = np.array([*[EOT] * opens, *text, *[EOT] * closes], np.int32)
    if len(piece) == 0:
        return
    noise = {"kind": "dynamic_ratio", "ratio_min": 0.05, "ratio_max": 0.4, "span_min_tokens": 2, "span_max_tokens": 9}
    rng = np.random.default_rng(seed)
    example = span_corruption(
        piece, rng, SPECIAL, noise=noise, loss_on=loss_on, bidirectional_input=False, scope="document"
    )
    tokens = example.tokens_T.tolist()
    assert source_of(tokens, SPECIAL) == piece.tolist()
    assert (example.span_T == 0).all()
    if loss_on == "all" or SPECIAL.separator not in tokens:
        assert example.loss_T.all()
        return
    targets = tokens[tokens.index(SPECIAL.separator) + 1 : len(tokens) - closes]
    asked = example.tokens_T[example.loss_T].tolist()
    assert asked == [token for token in targets if token not in SPECIAL.masks]


def test_the_corrupted_text_is_a_span_up_to_the_separator() -> None:
    noise = {"kind": "fixed_ratio", "ratio": 0.3, "mean_span_tokens": 3.0}
    piece, rng = np.array([EOT, *range(1000, 1030), EOT], np.int32), np.random.default_rng(0)
    example = span_corruption(
        piece, rng, SPECIAL, noise=noise, loss_on="targets", bidirectional_input=True, scope="document"
    )
    border = example.tokens_T.tolist().index(SPECIAL.separator) + 1
    assert example.span_T.tolist() == [1] * border + [0] * (len(example) - border)
    assert not example.loss_T[:border].any()


@given(text=TEXT, seed=SEEDS)
def test_prefix_is_a_span_without_loss_and_something_follows(text: Tokens, seed: int) -> None:
    if len(text) == 0:
        return
    knobs = {"fraction_min": 0.0, "fraction_max": 1.0, "fraction_alpha": 0.5, "fraction_beta": 2.0}
    example = prefix(text, np.random.default_rng(seed), SPECIAL, **knobs)
    length = int(example.span_T.sum())
    assert example.span_T.tolist() == [1] * length + [0] * (len(text) - length)
    assert (example.loss_T == (example.span_T == 0)).all()
    assert length < len(text)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (2.0, 5.0), (0.5, 0.5)])
def test_prefix_shares_have_the_distribution_that_is_asked_for(alpha: float, beta: float) -> None:
    rng, piece = np.random.default_rng(0), np.arange(10_000, dtype=np.int32)
    knobs = {"fraction_min": 0.2, "fraction_max": 0.8, "fraction_alpha": alpha, "fraction_beta": beta}
    lengths = [int(prefix(piece, rng, SPECIAL, **knobs).span_T.sum()) for _ in range(2000)]
    assert stats.kstest((np.array(lengths) / 10_000 - 0.2) / 0.6, stats.beta(alpha, beta).cdf).pvalue > LEAST_P


TOKENS, DOCUMENTS = np.arange(1000, 1100, dtype=np.int32), (30, 70)


@pytest.mark.parametrize("infill", names("infill"))
@pytest.mark.parametrize("objective", names("objective"))
def test_rows_are_pure_in_seed_and_number(objective: str, infill: str) -> None:
    one, two = (rows_of(objective, infill, budget_rows=20) for _ in range(2))
    forward = [one.example(row, TOKENS, DOCUMENTS)[0] for row in range(20)]
    backward = [two.example(row, TOKENS, DOCUMENTS)[0] for row in reversed(range(20))][::-1]
    for first, second in zip(forward, backward, strict=True):
        for part in ("tokens_T", "document_T", "span_T", "loss_T"):
            assert np.array_equal(getattr(first, part), getattr(second, part))
    other = rows_of(objective, infill, data_seed=1, budget_rows=20)
    differs = [
        not np.array_equal(getattr(other.example(row, TOKENS, DOCUMENTS)[0], part), getattr(ours, part))
        for row, ours in enumerate(forward)
        for part in ("tokens_T", "span_T", "loss_T")
    ]
    assert any(differs) == ((objective, infill) != ("causal", "none")), "only the causal task draws nothing"


@pytest.mark.parametrize("name", ["mixed", "ul2"])
def test_tasks_are_drawn_with_their_probabilities(name: str) -> None:
    made = rows_of(name)
    drawn = np.bincount(
        [made.example(row, TOKENS, DOCUMENTS)[1] for row in range(4000)], minlength=len(made.objective.tasks)
    )
    expected = np.array([arm.probability for arm in made.objective.tasks]) * 4000
    assert stats.chisquare(drawn, expected).pvalue > LEAST_P


@pytest.mark.parametrize("level", ["token", "char", "line"])
def test_infill_meets_its_rate_and_its_cuts_are_uniform(level: str) -> None:
    config = InfillConfig(format="psm", rate=0.3, level=level, scope="document", parameters={})  # type: ignore[arg-type]
    infill = Infill.from_config(config)
    assert infill is not None
    rng, count = np.random.default_rng(0), 6000
    # Ten lines of ten letters.
    text = np.tile(np.array([*range(1000, 1009), 1010], np.int32), 10)
    cuts = []
    for _ in range(count):
        moved_T = infill(text, rng, SPECIAL, Letters())
        if moved_T is not None:
            tokens = moved_T.tolist()
            prefix_tokens = tokens.index(SPECIAL.suffix) - 1
            middle_tokens = len(tokens) - 2 - tokens.index(SPECIAL.middle)
            cuts.append((prefix_tokens, prefix_tokens + middle_tokens))
    assert stats.binomtest(len(cuts), count, 0.3).pvalue > LEAST_P
    places = np.arange(0, 101, 10) if level == "line" else np.arange(101)
    # The two borders together are two uniform draws.
    seen = np.bincount(np.searchsorted(places, np.array(cuts).ravel()), minlength=len(places))
    assert set(np.array(cuts).ravel().tolist()) <= set(places.tolist())
    assert stats.chisquare(seen).pvalue > LEAST_P


def test_joint_takes_both_orders_in_their_shares() -> None:
    infill = rows_of("causal", "joint", rate=1.0, spm_fraction=0.25).objective.infill
    assert infill is not None
    rng = np.random.default_rng(0)
    moved = [infill(TOKENS, rng, SPECIAL, Letters()) for _ in range(2000)]
    spm = [row_T is not None and int(row_T[1]) == SPECIAL.suffix for row_T in moved]
    # A prefix of length 0 looks the same: one in a hundred.
    assert np.mean(spm) == pytest.approx(0.255, abs=0.03)


def test_tasks_that_move_text_are_given_it_in_its_order() -> None:
    made = rows_of("mixed", "psm", rate=1.0)
    for row in range(40):
        example, index = made.example(row, TOKENS, DOCUMENTS)
        tokens = example.tokens_T.tolist()
        assert (SPECIAL.middle in tokens) == (made.objective.tasks[index].task.name == "causal")


def test_a_mode_opens_each_piece_and_is_not_asked_for() -> None:
    plain, opened = rows_of("ul2"), rows_of("ul2_modes")
    for row in range(30):
        without, index = plain.example(row, TOKENS, DOCUMENTS)
        example, _ = opened.example(row, TOKENS, DOCUMENTS)
        first_T = np.flatnonzero(np.diff(example.document_T, prepend=0))
        mode = "RSX".index(opened.objective.tasks[index].mode or "")
        assert example.tokens_T[first_T].tolist() == [SPECIAL.modes[mode]] * 2
        assert not example.loss_T[first_T].any()
        kept = np.delete(np.arange(len(example)), first_T)
        assert np.array_equal(example.tokens_T[kept], without.tokens_T)
        first_of_plain = np.flatnonzero(np.diff(without.document_T, prepend=0))
        asked = without.loss_T.copy()
        asked[first_of_plain] = False
        assert np.array_equal(example.loss_T[kept], asked)


@given(tokens=st.lists(st.sampled_from([EOT, 1000, 1001]), max_size=5))
def test_a_piece_parts_into_opening_text_and_closing(tokens: list[int]) -> None:
    parts = split_end_of_text(np.array(tokens, np.int32), SPECIAL)
    assert [token for part in parts for token in part.tolist()] == tokens
    assert all(set(part.tolist()) <= {EOT} and len(part) <= 1 for part in (parts[0], parts[2]))


def test_joined_examples_keep_segments_and_spans_apart() -> None:
    piece = np.arange(4, dtype=np.int32)
    joined = Example.concatenate([Example.from_segment(piece, bidirectional_tokens=2, loss_from=2)] * 2)
    assert joined.document_T.tolist() == [1, 1, 1, 1, 2, 2, 2, 2]
    assert joined.span_T.tolist() == [1, 1, 0, 0, 2, 2, 0, 0]


SHARES = {"fraction_min": 0.0, "fraction_max": 1.0, "fraction_alpha": 1.0, "fraction_beta": 1.0}


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"a": ("causl", 1.0, {})}, r"objective\.tasks\.a\.task=causl: no such task. Did you mean causal\?"),
        ({"a": ("causal", 0.5, {})}, r"must sum to 1; given a 0\.5, which is 0\.5"),
        ({"a": ("prefix", 1.0, {"fraction_min": 0.0})}, r"objective\.tasks\.a\.fraction_max: missing"),
        ({"a": ("causal", 1.0, {"share": 1})}, r"objective\.tasks\.a\.share: unknown key"),
        ({"a": ("prefix", 1.0, SHARES | {"fraction_max": 1.5})}, r"a\.fraction_max=1\.5: should be less than"),
        (
            {"a": ("prefix", 1.0, SHARES | {"fraction_min": 0.9, "fraction_max": 0.5})},
            r"fraction_min=0\.9 is above fraction_max=0",
        ),
    ],
)
def test_wrong_objectives_are_refused(tasks: dict[str, tuple[str, float, dict[str, Any]]], message: str) -> None:
    config = ObjectiveConfig(
        tasks={label: TaskConfig(task=t, probability=p, parameters=q) for label, (t, p, q) in tasks.items()}
    )
    with pytest.raises(UsageError, match=message):
        Objective.from_config(config, InfillConfig("none", 0.0, "token", "document", {}))


def test_what_no_row_can_show_is_none() -> None:
    assert rows_of("causal", "psm", rate=0.0).objective.infill is None
    assert rows_of("span_corruption", "psm").objective.infill is None
    assert set(TASKS) >= {"causal", "prefix", "span_corruption"}
    assert set(FORMATS) == {"psm", "spm", "joint", "sentinel"}
