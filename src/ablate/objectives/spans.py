"""Noise masks: which tokens of a piece are taken out.

Shapes: `S` spans; a span is a half-open interval [start, end) of the piece.
"""

import numpy as np
from numpy.typing import NDArray


def drawn_spans(
    piece_tokens: int,
    rng: np.random.Generator,
    *,
    ratio_min: float,
    ratio_max: float,
    span_min_tokens: int,
    span_max_tokens: int,
) -> NDArray[np.int64]:
    """Spans of CodeGen2's dynamic span corruption (section 3.2): a ratio is drawn, then lengths until it is met.

    The ratio is uniform on [ratio_min, ratio_max], each length on span_min_tokens…span_max_tokens; one of them is
    shortened to what is left of the ratio. The spans then lie uniformly among all placements with at least one
    token kept between two of them, so that no two spans melt into one.

    Returns:
        (S, 2) starts and ends, ascending; no span for a piece too short to lose a token and keep its neighbours.
    """
    budget = int(rng.uniform(ratio_min, ratio_max) * piece_tokens)
    if budget < 1:
        return np.empty((0, 2), np.int64)
    lengths_S = rng.integers(span_min_tokens, span_max_tokens, size=budget // span_min_tokens + 1, endpoint=True)
    ends = np.cumsum(lengths_S)
    count = int(np.searchsorted(ends, budget)) + 1
    lengths_S = lengths_S[:count]
    lengths_S[-1] -= ends[count - 1] - budget
    # The shortened one may stand anywhere.
    lengths_S = rng.permutation(lengths_S)
    kept = piece_tokens - budget
    count = min(count, kept + 1)
    lengths_S = lengths_S[:count]
    # A placement is a choice of S of the kept + 1 gaps around kept tokens, so spans never touch.
    gaps_S = np.sort(rng.choice(kept + 1, size=count, replace=False))
    starts_S = gaps_S + np.concatenate([[0], np.cumsum(lengths_S)[:-1]])
    return np.stack([starts_S, starts_S + lengths_S], axis=1)
