"""Tasks: pure functions from a piece of one document to an example.

A task is a function `(tokens_T, rng, special, *, …parameters) -> Example` under `@task`. Its keyword-only parameters,
with their types, are what `objective.tasks.<label>` may set in YAML; there are no defaults here, YAML holds them all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ablate.config.trial import Positive, Share
from ablate.objectives.example import Example, SpecialTokens, Tokens, parted
from ablate.objectives.noise import NOISES, Spans
from ablate.objectives.registry import Component, Parameters, Registry, disordered, no_problem


@dataclass(frozen=True)
class Task(Component):
    """A registered task.

    Attributes:
        emits_region: whether rows made with these parameters can hold a region.
        is_causal: whether with these parameters every row is a plain causal one.
        keeps_order: whether the text stays in its order, so that an infill format may be applied before.
        merges: whether documents that share a row are one piece to it.
    """

    emits_region: Callable[[Parameters], bool]
    is_causal: Callable[[Parameters], bool]
    keeps_order: bool
    merges: Callable[[Parameters], bool]


TASKS: Registry[Task] = Registry("task")


def never(parameters: Parameters) -> bool:
    """What most tasks never do."""
    return False


def task(
    *,
    code_version: int,
    keeps_order: bool,
    emits_region: Callable[[Parameters], bool] = never,
    is_causal: Callable[[Parameters], bool] = never,
    merges: Callable[[Parameters], bool] = never,
    problem: Callable[[Parameters], str | None] = no_problem,
) -> Callable[[Callable[..., Example]], Callable[..., Example]]:
    """Registers a function as a task under its own name."""

    def register(function: Callable[..., Example]) -> Callable[..., Example]:
        name = function.__name__
        TASKS.add(Task(name, function, code_version, problem, emits_region, is_causal, keeps_order, merges))
        return function

    return register


@task(code_version=1, keeps_order=True, is_causal=lambda parameters: True)
def causal(tokens_T: Tokens, rng: np.random.Generator, special: SpecialTokens) -> Example:
    """Next-token prediction on every token.

    >>> special = SpecialTokens.counted_from(0, mask_sentinels=2)
    >>> example = causal(np.array([20, 21, 22], np.int32), np.random.default_rng(0), special)
    >>> example.tokens_T.tolist(), example.region_T.tolist(), example.loss_T.tolist()
    ([20, 21, 22], [0, 0, 0], [True, True, True])
    """
    return Example.of_piece(tokens_T)


@task(
    code_version=2,
    keeps_order=True,
    emits_region=lambda parameters: parameters["fraction_max"] > 0,
    problem=lambda parameters: disordered(parameters, "fraction_min"),
    is_causal=lambda parameters: parameters["fraction_max"] == 0,
)
def prefix(
    tokens_T: Tokens,
    rng: np.random.Generator,
    special: SpecialTokens,
    *,
    fraction_min: Share,
    fraction_max: Share,
    fraction_alpha: Positive,
    fraction_beta: Positive,
) -> Example:
    """Prefix language model (T5, section 3.2.3; CodeGen2, section 3.1): loss only after a bidirectional prefix.

    The prefix's share of the piece is fraction_min + (fraction_max − fraction_min) · Beta(fraction_alpha, fraction_beta), which is
    uniform for Beta(1, 1); at least one token comes after it.

    >>> special = SpecialTokens.counted_from(0, mask_sentinels=2)
    >>> rng = np.random.default_rng(0)
    >>> knobs = dict(fraction_min=0.5, fraction_max=0.5, fraction_alpha=1.0, fraction_beta=1.0)
    >>> example = prefix(np.array([20, 21, 22, 23], np.int32), rng, special, **knobs)
    >>> example.tokens_T.tolist(), example.region_T.tolist(), example.loss_T.tolist()
    ([20, 21, 22, 23], [1, 1, 0, 0], [False, False, True, True])
    """
    share = fraction_min + (fraction_max - fraction_min) * rng.beta(fraction_alpha, fraction_beta)
    length = min(round(share * len(tokens_T)), len(tokens_T) - 1)
    return Example.of_piece(tokens_T, region_tokens=length, loss_from=length)


def _corruption_problem(parameters: Parameters) -> str | None:
    if parameters["region"] == "context" and parameters["loss_on"] == "all":
        return (
            "region=context with loss_on=all: inside a region every token is visible, so none can be asked for. "
            "Set loss_on=targets or region=none"
        )
    return None


@task(
    code_version=2,
    keeps_order=False,
    emits_region=lambda parameters: parameters["region"] == "context",
    is_causal=lambda parameters: is_silent(parameters["noise"]),
    merges=lambda parameters: parameters["scope"] == "context",
    problem=_corruption_problem,
)
def span_corruption(
    tokens_T: Tokens,
    rng: np.random.Generator,
    special: SpecialTokens,
    *,
    noise: dict[str, Any],
    loss_on: Literal["all", "targets"],
    region: Literal["none", "context"],
    scope: Literal["document", "context"],
) -> Example:
    """Span corruption of one piece in CodeGen2's infill format (sections 3.2 and 3.3), its spans drawn by `noise`.

    The text with `<mask_1> … <mask_k>` in place of the spans, then `<|endoftext|> <sep>`, then for each span
    `<mask_i> span_i <eom>`. Nothing is lost; the `<|endoftext|>` of a document's start and end stay where they are.
    With no span drawn the piece stays as it is. `loss_on=targets` asks for the spans and their ends alone,
    `region=context` lets what comes before them see itself both ways (T5's encoder, or `objective=mixed_prefix`).

    >>> special = SpecialTokens.counted_from(0, mask_sentinels=2)
    >>> piece = np.arange(20, 26, dtype=np.int32)
    >>> noise = dict(kind="fixed_ratio", ratio=0.4, mean_span_tokens=2.0)
    >>> knobs = dict(noise=noise, loss_on="targets", region="context", scope="document")
    >>> example = span_corruption(piece, np.random.default_rng(0), special, **knobs)
    >>> example.tokens_T.tolist()
    [20, 21, 22, 23, 9, 0, 1, 9, 24, 25, 2]
    >>> example.loss_T.astype(int).tolist(), example.region_T.tolist()
    ([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0])
    """
    opening_T, text_T, _ = parted(tokens_T, special)
    spans = NOISES[noise["kind"]].function(len(text_T), rng, **_knobs(noise))
    if len(spans) == 0:
        return Example.of_piece(tokens_T)
    moved_T, masks_S, eoms_S = moved_out(tokens_T, len(opening_T) + spans, len(text_T) + len(opening_T), special)
    head_tokens = int(masks_S[0])
    example = Example.of_piece(
        moved_T,
        region_tokens=head_tokens if region == "context" else 0,
        loss_from=head_tokens if loss_on == "targets" else 0,
    )
    if loss_on == "targets":
        # The masks say nothing but their number.
        example.loss_T[masks_S] = False
        example.loss_T[int(eoms_S[-1]) + 1 :] = False
    return example


def moved_out(
    tokens_T: Tokens, spans: Spans, text_end: int, special: SpecialTokens
) -> tuple[Tokens, NDArray[np.int64], NDArray[np.int64]]:
    """A piece with its spans moved behind its text.

    Args:
        tokens_T: the piece.
        spans: (S, 2), S > 0, as many as there are masks at most; none touches another.
        text_end: where the text ends and the closing `<|endoftext|>` stands, if there is one.

    Returns:
        The piece, and in it the places of the masks that open the moved spans and of the `<eom>` that close them, (S,)
        each.
    """
    masks_S = np.array(special.masks[: len(spans)], np.int32)
    assert len(masks_S) == len(spans), "the grid refuses more spans than masks"
    starts_S, ends_S = spans[:, 0], spans[:, 1]
    lengths_S = ends_S - starts_S
    noised_S = lengths_S.cumsum()
    index_S = np.arange(len(spans))
    holes_S = ends_S - noised_S + index_S
    head_tokens = text_end - int(noised_S[-1]) + len(spans) + 2
    eoms_S = noised_S + (2 * index_S + head_tokens + 1)
    openings_S = eoms_S - lengths_S - 1

    # One gather, whose index goes up by 1 but for the jumps: over a span at its mask, to a span, and to the closing.
    step_T = np.ones(len(tokens_T) + 3 * len(spans) + 2, np.int64)
    step_T[holes_S] = lengths_S
    step_T[openings_S[0]] = starts_S[0] - text_end - 2
    step_T[openings_S[1:]] = starts_S[1:] - ends_S[:-1] - 1
    step_T[eoms_S[-1] + 1 :] = text_end - ends_S[-1]
    moved_T = tokens_T.take(step_T.cumsum() - 1, mode="clip")
    moved_T[holes_S] = moved_T[openings_S] = masks_S
    moved_T[head_tokens - 2 : head_tokens] = special.end_of_text, special.separator
    moved_T[eoms_S] = special.end_of_mask
    return moved_T, openings_S, eoms_S


def _knobs(noise: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in noise.items() if name != "kind"}


def is_silent(noise: Mapping[str, Any]) -> bool:
    """Whether a checked noise never takes a token out."""
    return NOISES[noise["kind"]].is_silent(_knobs(noise))
