"""Noise: which tokens of a piece are taken out.

A noise is a function `(piece_tokens, rng, *, …parameters) -> spans` under `@noise`; its keyword-only parameters are
what a task's `noise` may set in YAML beside `kind`.

Shapes: `S` spans; a span is a half-open interval [start, end) of the piece. Spans are ascending and at least one token
is kept between two of them, so that no two melt into one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ablate.config.trial import Share
from ablate.objectives.registry import Component, Parameters, Registry, disordered, no_problem

Spans = NDArray[np.int64]
NONE: Spans = np.empty((0, 2), np.int64)
NONE.flags.writeable = False

Tokens1 = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Noise(Component):
    """A registered noise.

    Attributes:
        most_spans: how many spans a piece of so many tokens can get.
        least_piece_tokens: of how many tokens a piece must be for a span of the wanted length to fit the ratio.
        is_silent: whether with these parameters no span is ever drawn.
    """

    most_spans: Callable[[Parameters, int], int]
    least_piece_tokens: Callable[[Parameters], float]
    is_silent: Callable[[Parameters], bool]


NOISES: Registry[Noise] = Registry("noise")


def noise(
    *,
    code_version: int,
    most_spans: Callable[[Parameters, int], int],
    least_piece_tokens: Callable[[Parameters], float] = lambda parameters: 0.0,
    is_silent: Callable[[Parameters], bool] = lambda parameters: False,
    problem: Callable[[Parameters], str | None] = no_problem,
) -> Callable[[Callable[..., Spans]], Callable[..., Spans]]:
    """Registers a function as a noise under its own name."""

    def register(function: Callable[..., Spans]) -> Callable[..., Spans]:
        NOISES.add(Noise(function.__name__, function, code_version, problem, most_spans, least_piece_tokens, is_silent))
        return function

    return register


def checked_noise(given: Any, where: str) -> tuple[Noise, dict[str, Any]]:
    """The noise that a task's `noise` names, and its parameters. Raises UsageError like `Registry.checked`."""
    parameters = dict(given)
    return NOISES.checked(str(parameters.pop("kind", "")), parameters, where, "kind")


def placed(lengths_S: NDArray[np.int64], piece_tokens: int, rng: np.random.Generator) -> Spans:
    """Spans of these lengths, uniformly among all placements in which none touch: (S, 2).

    A placement is a choice of S of the kept + 1 gaps around kept tokens. Spans that find no gap are left out.
    """
    ends_S = lengths_S.cumsum()
    gaps = piece_tokens - int(ends_S[-1]) + 1
    count = min(len(lengths_S), gaps)
    gaps_S = rng.choice(gaps, size=count, replace=False, shuffle=False)
    gaps_S.sort()
    spans = np.empty((count, 2), np.int64)
    np.add(gaps_S, ends_S[:count], out=spans[:, 1])
    np.subtract(spans[:, 1], lengths_S[:count], out=spans[:, 0])
    return spans


def _no_room(ratio: float, shortest: float, named: str) -> str | None:
    """Says so where spans so short leave no kept token between two of them."""
    if ratio / shortest <= 1 - ratio:
        return None
    most = shortest / (shortest + 1)
    return f"{named} leaves no kept token between two spans of {shortest:g} tokens; at most {most:.2f}"


def _dynamic_problem(parameters: Parameters) -> str | None:
    crowded = _no_room(parameters["ratio_max"], parameters["span_min_tokens"], f"ratio_max={parameters['ratio_max']}")
    return crowded or disordered(parameters, "ratio_min", "span_min_tokens")


@noise(
    code_version=2,
    most_spans=lambda parameters, tokens: (
        -(-int(parameters["ratio_max"] * tokens) // int(parameters["span_min_tokens"]))
    ),
    least_piece_tokens=lambda parameters: parameters["span_min_tokens"] / max(parameters["ratio_max"], 1e-12),
    is_silent=lambda parameters: parameters["ratio_max"] == 0,
    problem=_dynamic_problem,
)
def dynamic_ratio(
    piece_tokens: int,
    rng: np.random.Generator,
    *,
    ratio_min: Share,
    ratio_max: Share,
    span_min_tokens: Tokens1,
    span_max_tokens: Tokens1,
) -> Spans:
    """CodeGen2's noise (section 3.2): a ratio is drawn, then lengths until it is met.

    The ratio is uniform on [ratio_min, ratio_max], each length on span_min_tokens…span_max_tokens; one of them is
    shortened to what is left of the ratio. No span for a piece too short to lose a token.
    """
    budget = int(rng.uniform(ratio_min, ratio_max) * piece_tokens)
    if budget < 1:
        return NONE
    lengths_S = rng.integers(span_min_tokens, span_max_tokens, size=budget // span_min_tokens + 1, endpoint=True)
    ends = np.cumsum(lengths_S)
    count = int(np.searchsorted(ends, budget)) + 1
    lengths_S = lengths_S[:count]
    # The shortened one may stand anywhere.
    place = int(rng.integers(count))
    lengths_S[-1], lengths_S[place] = lengths_S[place], lengths_S[-1] - (ends[count - 1] - budget)
    return placed(lengths_S, piece_tokens, rng)


def _fixed_spans(parameters: Parameters, tokens: int) -> int:
    noised = round(parameters["ratio"] * tokens)
    spans: int = max(1, round(noised / parameters["mean_span_tokens"]))
    return spans


@noise(
    code_version=1,
    most_spans=_fixed_spans,
    least_piece_tokens=lambda parameters: parameters["mean_span_tokens"] / max(parameters["ratio"], 1e-12),
    is_silent=lambda parameters: parameters["ratio"] == 0,
    problem=lambda parameters: _no_room(
        parameters["ratio"], parameters["mean_span_tokens"], f"ratio={parameters['ratio']}"
    ),
)
def fixed_ratio(
    piece_tokens: int,
    rng: np.random.Generator,
    *,
    ratio: Share,
    mean_span_tokens: Annotated[float, Field(ge=1, allow_inf_nan=False)],
) -> Spans:
    """T5's noise (section 3.1.4): a fixed share of the tokens in spans of a fixed mean length.

    round(ratio · T) tokens in round(noised / mean) spans, whose lengths are uniform among all that add up; they lie
    uniformly among all placements that keep a token between two.
    """
    noised = min(round(ratio * piece_tokens), piece_tokens - 1)
    if noised < 1:
        return NONE
    count = min(max(1, round(noised / mean_span_tokens)), noised, piece_tokens - noised + 1)
    borders = np.zeros(count + 1, np.int64)
    borders[1:-1] = rng.choice(noised - 1, size=count - 1, replace=False, shuffle=False) + 1
    borders[-1] = noised
    borders.sort()
    return placed(borders[1:] - borders[:-1], piece_tokens, rng)
