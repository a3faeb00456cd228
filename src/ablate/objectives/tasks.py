"""Tasks: pure functions from a piece of one document to an example.

A task is a function `(tokens_T, rng, special, *, …parameters) -> Example` under `@task`. Its keyword-only parameters,
with their types, are what `objective.tasks.<label>` may set in YAML; there are no defaults here, YAML holds them all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from ablate.config import Share
from ablate.objectives.example import Example, SpecialTokens, Tokens
from ablate.objectives.spans import drawn_spans

PositiveTokens = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Task:
    """A registered task.

    Attributes:
        function: the pure function.
        code_version: bumped when the function's numbers change; part of the trial id.
        emits_region: whether rows made with these parameters can hold a region.
        most_masks: how many mask sentinels a piece of so many tokens can need with these parameters.
        problem: what is wrong with parameters that are each fine, or None.
        is_causal: whether with these parameters every row is a plain causal one.
    """

    name: str
    function: Callable[..., Example]
    code_version: int
    emits_region: Callable[[Mapping[str, Any]], bool]
    most_masks: Callable[[Mapping[str, Any], int], int]
    problem: Callable[[Mapping[str, Any]], str | None]
    is_causal: Callable[[Mapping[str, Any]], bool]


TASKS: dict[str, Task] = {}


def task(
    *,
    code_version: int,
    emits_region: Callable[[Mapping[str, Any]], bool] = lambda parameters: False,
    most_masks: Callable[[Mapping[str, Any], int], int] = lambda parameters, piece_tokens: 0,
    problem: Callable[[Mapping[str, Any]], str | None] = lambda parameters: None,
    is_causal: Callable[[Mapping[str, Any]], bool] = lambda parameters: False,
) -> Callable[[Callable[..., Example]], Callable[..., Example]]:
    """Registers a function as a task under its own name."""

    def register(function: Callable[..., Example]) -> Callable[..., Example]:
        name = function.__name__
        TASKS[name] = Task(name, function, code_version, emits_region, most_masks, problem, is_causal)
        return function

    return register


@task(code_version=1, is_causal=lambda parameters: True)
def causal(tokens_T: Tokens, rng: np.random.Generator, special: SpecialTokens) -> Example:
    """Next-token prediction on every token.

    >>> special = SpecialTokens(end_of_text=0, separator=1, end_of_mask=2, masks=(3, 4))
    >>> example = causal(np.array([10, 11, 12], np.int32), np.random.default_rng(0), special)
    >>> example.tokens_T.tolist(), example.region_T.tolist(), example.loss_T.tolist()
    ([10, 11, 12], [0, 0, 0], [True, True, True])
    """
    return Example.of_piece(tokens_T)


def _disordered(parameters: Mapping[str, Any], *names: str) -> str | None:
    """Says so where `<name>_min…` exceeds `<name>_max…`."""
    for low, high in ((name, name.replace("_min", "_max")) for name in names):
        if parameters[low] > parameters[high]:
            return f"{low}={parameters[low]} is above {high}={parameters[high]}"
    return None


@task(
    code_version=1,
    emits_region=lambda parameters: parameters["share_max"] > 0,
    problem=lambda parameters: _disordered(parameters, "share_min"),
    is_causal=lambda parameters: parameters["share_max"] == 0,
)
def prefix(
    tokens_T: Tokens, rng: np.random.Generator, special: SpecialTokens, *, share_min: Share, share_max: Share
) -> Example:
    """Prefix language model (T5, section 3.2.3; CodeGen2, section 3.1): loss only after a bidirectional prefix.

    The prefix's share of the piece is uniform on [share_min, share_max]; at least one token comes after it.

    >>> special = SpecialTokens(end_of_text=0, separator=1, end_of_mask=2, masks=(3, 4))
    >>> rng = np.random.default_rng(0)
    >>> example = prefix(np.array([10, 11, 12, 13], np.int32), rng, special, share_min=0.5, share_max=0.5)
    >>> example.tokens_T.tolist(), example.region_T.tolist(), example.loss_T.tolist()
    ([10, 11, 12, 13], [1, 1, 0, 0], [False, False, True, True])
    """
    length = min(round(rng.uniform(share_min, share_max) * len(tokens_T)), len(tokens_T) - 1)
    return Example.of_piece(tokens_T, region_tokens=length, loss_from=length)


def _most_spans(parameters: Mapping[str, Any], piece_tokens: int) -> int:
    return -(-int(parameters["ratio_max"] * piece_tokens) // int(parameters["span_min_tokens"]))


def _spans_problem(parameters: Mapping[str, Any]) -> str | None:
    ratio, shortest = parameters["ratio_max"], parameters["span_min_tokens"]
    if ratio / shortest > 1 - ratio:
        return (
            f"ratio_max={ratio} in spans of span_min_tokens={shortest} leaves no kept token between two spans; "
            f"at most {shortest / (shortest + 1):.2f}"
        )
    return _disordered(parameters, "ratio_min", "span_min_tokens")


@task(
    code_version=1,
    most_masks=_most_spans,
    problem=_spans_problem,
    is_causal=lambda parameters: parameters["ratio_max"] == 0,
)
def span_corruption(
    tokens_T: Tokens,
    rng: np.random.Generator,
    special: SpecialTokens,
    *,
    ratio_min: Share,
    ratio_max: Share,
    span_min_tokens: PositiveTokens,
    span_max_tokens: PositiveTokens,
    loss_on: Literal["all", "targets"],
) -> Example:
    """CodeGen2's span corruption of one document piece (sections 3.2 and 3.3), in its infill format.

    The piece with `<mask_1> … <mask_k>` in place of the spans, then `<|endoftext|> <sep>`, then for each span
    `<mask_i> span_i <eom>`. Nothing of the piece is lost. With no span drawn the piece stays as it is.

    >>> special = SpecialTokens(end_of_text=0, separator=1, end_of_mask=2, masks=(3, 4))
    >>> rng = np.random.default_rng(1)
    >>> piece = np.arange(10, 16, dtype=np.int32)
    >>> knobs = dict(ratio_min=0.4, ratio_max=0.4, span_min_tokens=2, span_max_tokens=2, loss_on="targets")
    >>> example = span_corruption(piece, rng, special, **knobs)
    >>> example.tokens_T.tolist()
    [10, 11, 12, 3, 15, 0, 1, 3, 13, 14, 2]
    >>> example.loss_T.astype(int).tolist()
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1]
    """
    spans = drawn_spans(
        len(tokens_T),
        rng,
        ratio_min=ratio_min,
        ratio_max=ratio_max,
        span_min_tokens=span_min_tokens,
        span_max_tokens=span_max_tokens,
    )
    if len(spans) == 0:
        return Example.of_piece(tokens_T)
    context, targets, target_loss = [], [np.array([special.end_of_text, special.separator])], [np.zeros(2, bool)]
    position = 0
    for mask, (start, end) in zip(special.masks, spans, strict=False):
        context += [tokens_T[position:start], np.array([mask])]
        targets += [np.array([mask]), tokens_T[start:end], np.array([special.end_of_mask])]
        target_loss += [np.zeros(1, bool), np.ones(end - start + 1, bool)]
        position = end
    context.append(tokens_T[position:])
    corrupted_T = np.concatenate(context + targets).astype(np.int32)
    example = Example.of_piece(corrupted_T)
    if loss_on == "all":
        return example
    context_loss = np.zeros(len(corrupted_T) - sum(map(len, target_loss)), bool)
    return Example(example.tokens_T, example.document_T, example.region_T, np.concatenate([context_loss, *target_loss]))
