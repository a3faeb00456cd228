"""Tasks: pure functions from a document segment to an example.

A task is a function `(tokens_T, rng, special, *, …parameters) -> Example` under `@task`. Its keyword-only parameters,
with their types, are what `objective.tasks.<label>` sets in YAML. They have no defaults: YAML holds every value.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ablate.config.fields import Fraction, Positive
from ablate.config.registry import Component, Parameters, Registry, min_above_max, no_problem
from ablate.objectives.example import Example, SpecialTokens, Tokens, split_end_of_text
from ablate.objectives.noise import NOISES, Spans


@dataclass(frozen=True)
class Task(Component):
    """A registered task.

    Attributes:
        has_bidirectional_spans: whether rows made with these parameters can hold a bidirectional span.
        is_causal: whether these parameters make every row a plain causal one.
        keeps_order: whether the text keeps its order; only then is an infill format applied before the task.
        merges_documents: whether the documents of a row are one segment.
    """

    has_bidirectional_spans: Callable[[Parameters], bool]
    is_causal: Callable[[Parameters], bool]
    keeps_order: bool
    merges_documents: Callable[[Parameters], bool]


TASKS: Registry[Task] = Registry("task")


def never(parameters: Parameters) -> bool:
    """Return False: the default of a task's properties."""
    return False


def task(
    *,
    code_version: int,
    keeps_order: bool,
    has_bidirectional_spans: Callable[[Parameters], bool] = never,
    is_causal: Callable[[Parameters], bool] = never,
    merges_documents: Callable[[Parameters], bool] = never,
    problem: Callable[[Parameters], str | None] = no_problem,
) -> Callable[[Callable[..., Example]], Callable[..., Example]]:
    """Register a function as a task under its own name."""

    def register(function: Callable[..., Example]) -> Callable[..., Example]:
        name = function.__name__
        properties = (has_bidirectional_spans, is_causal, keeps_order, merges_documents)
        TASKS.add(Task(name, function, code_version, problem, *properties))
        return function

    return register


@task(code_version=1, keeps_order=True, is_causal=lambda parameters: True)
def causal(tokens_T: Tokens, rng: np.random.Generator, special: SpecialTokens) -> Example:
    """Predict the next token, with loss on every token.

    >>> special = SpecialTokens.consecutive(0, mask_sentinels=2)
    >>> example = causal(np.array([20, 21, 22], np.int32), np.random.default_rng(0), special)
    >>> example.tokens_T.tolist(), example.span_T.tolist(), example.loss_T.tolist()
    ([20, 21, 22], [0, 0, 0], [True, True, True])
    """
    return Example.from_segment(tokens_T)


@task(
    code_version=2,
    keeps_order=True,
    has_bidirectional_spans=lambda parameters: parameters["fraction_max"] > 0,
    problem=lambda parameters: min_above_max(parameters, "fraction_min"),
    is_causal=lambda parameters: parameters["fraction_max"] == 0,
)
def prefix(
    tokens_T: Tokens,
    rng: np.random.Generator,
    special: SpecialTokens,
    *,
    fraction_min: Fraction,
    fraction_max: Fraction,
    fraction_alpha: Positive,
    fraction_beta: Positive,
) -> Example:
    """Read a bidirectional prefix, with loss after it (prefix LM: T5, section 3.2.3; CodeGen2, section 3.1).

    The prefix is a fraction of the segment: fraction_min + (fraction_max − fraction_min) · Beta(fraction_alpha,
    fraction_beta), which is uniform for Beta(1, 1). At least one token follows it.

    >>> special = SpecialTokens.consecutive(0, mask_sentinels=2)
    >>> rng = np.random.default_rng(0)
    >>> knobs = dict(fraction_min=0.5, fraction_max=0.5, fraction_alpha=1.0, fraction_beta=1.0)
    >>> example = prefix(np.array([20, 21, 22, 23], np.int32), rng, special, **knobs)
    >>> example.tokens_T.tolist(), example.span_T.tolist(), example.loss_T.tolist()
    ([20, 21, 22, 23], [1, 1, 0, 0], [False, False, True, True])
    """
    fraction = fraction_min + (fraction_max - fraction_min) * rng.beta(fraction_alpha, fraction_beta)
    length = min(round(fraction * len(tokens_T)), len(tokens_T) - 1)
    return Example.from_segment(tokens_T, bidirectional_tokens=length, loss_from=length)


@task(code_version=1, keeps_order=True, is_causal=lambda parameters: parameters["loss_fraction"] == 1)
def random_loss(
    tokens_T: Tokens, rng: np.random.Generator, special: SpecialTokens, *, loss_fraction: Fraction
) -> Example:
    """Predict the next token, with loss on a random fraction of the tokens: causal, with the loss tokens of `prefix`.

    >>> special = SpecialTokens.consecutive(0, mask_sentinels=2)
    >>> example = random_loss(np.arange(20, 28, dtype=np.int32), np.random.default_rng(0), special, loss_fraction=0.5)
    >>> example.tokens_T.tolist(), example.span_T.any(), int(example.loss_T.sum())
    ([20, 21, 22, 23, 24, 25, 26, 27], np.False_, 3)
    """
    example = Example.from_segment(tokens_T)
    example.loss_T[:] = rng.random(len(tokens_T)) < loss_fraction
    return example


def _corruption_problem(parameters: Parameters) -> str | None:
    if parameters["bidirectional_input"] and parameters["loss_on"] == "all":
        return (
            "bidirectional_input=true with loss_on=all: tokens that attend to each other cannot have loss. "
            "Set loss_on=targets or bidirectional_input=false"
        )
    return None


@task(
    code_version=2,
    keeps_order=False,
    has_bidirectional_spans=lambda parameters: bool(parameters["bidirectional_input"]),
    is_causal=lambda parameters: is_noop(parameters["noise"]),
    merges_documents=lambda parameters: parameters["scope"] == "context",
    problem=_corruption_problem,
)
def span_corruption(
    tokens_T: Tokens,
    rng: np.random.Generator,
    special: SpecialTokens,
    *,
    noise: dict[str, Any],
    loss_on: Literal["all", "targets"],
    bidirectional_input: bool,
    scope: Literal["document", "context"],
) -> Example:
    """Move the spans that `noise` draws behind the text, in CodeGen2's infill format (sections 3.2 and 3.3).

    The row is the text with `<mask_1> … <mask_k>` in place of the spans (the input), then `<|endoftext|> <sep>`, then
    `<mask_i> span_i <eom>` for each span. No token is lost, and the `<|endoftext|>` at a document's start and end
    stay in place. A segment without spans is unchanged. `loss_on=targets` puts loss on the spans and their `<eom>`
    only. `bidirectional_input` makes the input one bidirectional span (T5's encoder, or `objective=mixed_prefix`).

    >>> special = SpecialTokens.consecutive(0, mask_sentinels=2)
    >>> segment = np.arange(20, 26, dtype=np.int32)
    >>> noise = dict(kind="fixed_ratio", ratio=0.4, mean_span_tokens=2.0)
    >>> knobs = dict(noise=noise, loss_on="targets", bidirectional_input=True, scope="document")
    >>> example = span_corruption(segment, np.random.default_rng(0), special, **knobs)
    >>> example.tokens_T.tolist()
    [20, 21, 22, 23, 9, 0, 1, 9, 24, 25, 2]
    >>> example.loss_T.astype(int).tolist(), example.span_T.tolist()
    ([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0])
    """
    opening_T, text_T, _ = split_end_of_text(tokens_T, special)
    spans = NOISES[noise["kind"]].function(len(text_T), rng, **_noise_parameters(noise))
    if len(spans) == 0:
        return Example.from_segment(tokens_T)
    moved_T, masks_S, eoms_S = move_spans_to_end(
        tokens_T, len(opening_T) + spans, len(text_T) + len(opening_T), special
    )
    input_tokens = int(masks_S[0])
    example = Example.from_segment(
        moved_T,
        bidirectional_tokens=input_tokens if bidirectional_input else 0,
        loss_from=input_tokens if loss_on == "targets" else 0,
    )
    if loss_on == "targets":
        # Masks are numbered in order: there is nothing to learn.
        example.loss_T[masks_S] = False
        example.loss_T[int(eoms_S[-1]) + 1 :] = False
    return example


def move_spans_to_end(
    tokens_T: Tokens, spans: Spans, text_end: int, special: SpecialTokens
) -> tuple[Tokens, NDArray[np.int64], NDArray[np.int64]]:
    """Move the spans of a segment behind its text.

    Args:
        tokens_T: the segment.
        spans: (S, 2), 0 < S ≤ number of masks; no two touch.
        text_end: index after the text; the closing `<|endoftext|>` follows, if there is one.

    Returns:
        The tokens, the indices of the masks that open the moved spans, and those of the `<eom>` that close them, (S,)
        each.
    """
    masks_S = np.array(special.masks[: len(spans)], np.int32)
    assert len(masks_S) == len(spans), "planning rejects more spans than masks"
    starts_S, ends_S = spans[:, 0], spans[:, 1]
    lengths_S = ends_S - starts_S
    masked_S = lengths_S.cumsum()
    index_S = np.arange(len(spans))
    holes_S = ends_S - masked_S + index_S
    input_tokens = text_end - int(masked_S[-1]) + len(spans) + 2
    eoms_S = masked_S + (2 * index_S + input_tokens + 1)
    openings_S = eoms_S - lengths_S - 1

    # A single gather. Its index steps by 1, and jumps over each span at its mask, to each moved span, and to the end.
    step_T = np.ones(len(tokens_T) + 3 * len(spans) + 2, np.int64)
    step_T[holes_S] = lengths_S
    step_T[openings_S[0]] = starts_S[0] - text_end - 2
    step_T[openings_S[1:]] = starts_S[1:] - ends_S[:-1] - 1
    step_T[eoms_S[-1] + 1 :] = text_end - ends_S[-1]
    moved_T = tokens_T.take(step_T.cumsum() - 1, mode="clip")
    moved_T[holes_S] = moved_T[openings_S] = masks_S
    moved_T[input_tokens - 2 : input_tokens] = special.end_of_text, special.separator
    moved_T[eoms_S] = special.end_of_mask
    return moved_T, openings_S, eoms_S


def _noise_parameters(noise: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in noise.items() if name != "kind"}


def is_noop(noise: Mapping[str, Any]) -> bool:
    """Return whether a checked noise never masks a token."""
    return NOISES[noise["kind"]].is_noop(_noise_parameters(noise))
