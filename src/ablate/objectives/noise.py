"""Noise: which tokens of a document segment are masked.

A noise is a function `(segment_tokens, rng, *, …parameters) -> spans` under `@noise`. Its keyword-only parameters are
what a task's `noise` sets in YAML beside `kind`.

Shapes: `S` spans. A span is a half-open interval [start, end) of the segment. Spans are ascending, and at least one
token lies between two of them, because adjacent spans would be one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ablate.config.fields import Fraction
from ablate.config.registry import Component, Parameters, Registry, min_above_max, no_problem

Spans = NDArray[np.int64]
NONE: Spans = np.empty((0, 2), np.int64)
NONE.flags.writeable = False

Tokens1 = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Noise(Component):
    """A registered noise.

    Attributes:
        max_spans: (parameters, segment_tokens) to the most spans that can be drawn.
        min_segment_tokens: the shortest segment in which a span of the configured length fits the ratio.
        is_noop: whether these parameters never draw a span.
    """

    max_spans: Callable[[Parameters, int], int]
    min_segment_tokens: Callable[[Parameters], float]
    is_noop: Callable[[Parameters], bool]


NOISES: Registry[Noise] = Registry("noise")


def noise(
    *,
    code_version: int,
    max_spans: Callable[[Parameters, int], int],
    min_segment_tokens: Callable[[Parameters], float] = lambda parameters: 0.0,
    is_noop: Callable[[Parameters], bool] = lambda parameters: False,
    problem: Callable[[Parameters], str | None] = no_problem,
) -> Callable[[Callable[..., Spans]], Callable[..., Spans]]:
    """Register a function as a noise under its own name."""

    def register(function: Callable[..., Spans]) -> Callable[..., Spans]:
        NOISES.add(Noise(function.__name__, function, code_version, problem, max_spans, min_segment_tokens, is_noop))
        return function

    return register


def checked_noise(config: Any, where: str) -> tuple[Noise, dict[str, Any]]:
    """Look up the noise of a task's `noise` and check its parameters. Raises UsageError like `Registry.checked`."""
    parameters = dict(config)
    return NOISES.checked(str(parameters.pop("kind", "")), parameters, where, "kind")


def place_spans(lengths_S: NDArray[np.int64], segment_tokens: int, rng: np.random.Generator) -> Spans:
    """Draw one of all placements of spans of these lengths in which none touch: (S, 2).

    A placement chooses S of the gaps around the unmasked tokens, of which there is one more than tokens. Spans beyond
    the number of gaps are dropped.
    """
    ends_S = lengths_S.cumsum()
    gaps = segment_tokens - int(ends_S[-1]) + 1
    count = min(len(lengths_S), gaps)
    gaps_S = rng.choice(gaps, size=count, replace=False, shuffle=False)
    gaps_S.sort()
    spans = np.empty((count, 2), np.int64)
    np.add(gaps_S, ends_S[:count], out=spans[:, 1])
    np.subtract(spans[:, 1], lengths_S[:count], out=spans[:, 0])
    return spans


def _crowding_problem(ratio: float, span_tokens: float, setting: str) -> str | None:
    """Return a message where the ratio leaves no unmasked token between spans this short."""
    if ratio / span_tokens <= 1 - ratio:
        return None
    max_ratio = span_tokens / (span_tokens + 1)
    return f"{setting} leaves no unmasked token between two spans of {span_tokens:g} tokens; at most {max_ratio:.2f}"


def _dynamic_problem(parameters: Parameters) -> str | None:
    ratio = parameters["ratio_max"]
    crowding = _crowding_problem(ratio, parameters["span_min_tokens"], f"ratio_max={ratio}")
    return crowding or min_above_max(parameters, "ratio_min", "span_min_tokens")


@noise(
    code_version=2,
    max_spans=lambda parameters, tokens: (
        -(-int(parameters["ratio_max"] * tokens) // int(parameters["span_min_tokens"]))
    ),
    min_segment_tokens=lambda parameters: parameters["span_min_tokens"] / max(parameters["ratio_max"], 1e-12),
    is_noop=lambda parameters: parameters["ratio_max"] == 0,
    problem=_dynamic_problem,
)
def dynamic_ratio(
    segment_tokens: int,
    rng: np.random.Generator,
    *,
    ratio_min: Fraction,
    ratio_max: Fraction,
    span_min_tokens: Tokens1,
    span_max_tokens: Tokens1,
) -> Spans:
    """Draw a ratio, then span lengths until they reach it (CodeGen2, section 3.2).

    The ratio is uniform on [ratio_min, ratio_max], each length on span_min_tokens…span_max_tokens. One span is
    shortened to meet the ratio exactly. A segment too short to lose a token has no span.
    """
    budget = int(rng.uniform(ratio_min, ratio_max) * segment_tokens)
    if budget < 1:
        return NONE
    lengths_S = rng.integers(span_min_tokens, span_max_tokens, size=budget // span_min_tokens + 1, endpoint=True)
    ends = np.cumsum(lengths_S)
    count = int(np.searchsorted(ends, budget)) + 1
    lengths_S = lengths_S[:count]
    # The shortened span takes a random place among the others.
    place = int(rng.integers(count))
    lengths_S[-1], lengths_S[place] = lengths_S[place], lengths_S[-1] - (ends[count - 1] - budget)
    return place_spans(lengths_S, segment_tokens, rng)


def _fixed_spans(parameters: Parameters, tokens: int) -> int:
    masked = round(parameters["ratio"] * tokens)
    spans: int = max(1, round(masked / parameters["mean_span_tokens"]))
    return spans


@noise(
    code_version=1,
    max_spans=_fixed_spans,
    min_segment_tokens=lambda parameters: parameters["mean_span_tokens"] / max(parameters["ratio"], 1e-12),
    is_noop=lambda parameters: parameters["ratio"] == 0,
    problem=lambda parameters: _crowding_problem(
        parameters["ratio"], parameters["mean_span_tokens"], f"ratio={parameters['ratio']}"
    ),
)
def fixed_ratio(
    segment_tokens: int,
    rng: np.random.Generator,
    *,
    ratio: Fraction,
    mean_span_tokens: Annotated[float, Field(ge=1, allow_inf_nan=False)],
) -> Spans:
    """Mask a fixed fraction of the tokens, in spans of a fixed mean length (T5, section 3.1.4).

    round(ratio · T) tokens in round(masked / mean) spans. Lengths are uniform among all that add up to the number of
    masked tokens, and places uniform among all that leave a token between two spans.
    """
    masked = min(round(ratio * segment_tokens), segment_tokens - 1)
    if masked < 1:
        return NONE
    count = min(max(1, round(masked / mean_span_tokens)), masked, segment_tokens - masked + 1)
    borders = np.zeros(count + 1, np.int64)
    borders[1:-1] = rng.choice(masked - 1, size=count - 1, replace=False, shuffle=False) + 1
    borders[-1] = masked
    borders.sort()
    return place_spans(borders[1:] - borders[:-1], segment_tokens, rng)
