"""Infilling: the bytes of a middle, given what stands around it.

`infill_bpb_both`: of arms that were trained to infill, each asked in its own format. `infill_bpb_left`: the same
middles after their left side alone, of every arm. `infill_exact_<kind>`: the share of middles that are the model's
first choice, token by token, up to and with the `<eom>` that ends them: what greedy sampling would write.

The kinds are those of the benchmark of Bavarian et al. 2022 (section 2.3): one line, several lines, a random span.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd

from ablate.config.trial import EvaluationConfig
from ablate.data.corpus.document import Split
from ablate.data.tokens.shards import Shards
from ablate.evaluation.reading import Reading, score_readings
from ablate.evaluation.table import Row, table
from ablate.model.build import Model
from ablate.objectives.example import Tokens
from ablate.objectives.prompt import Prompts
from ablate.objectives.randomness import key64, keyed_rng

# Whatever a trial's seeds are, all arms fill the same gaps.
EVALUATION_SEED = 0
# The most that any format writes besides the text.
STRUCTURE_TOKENS = 8


@dataclass(frozen=True)
class Middle:
    """A gap in a held-out document: what stands around it and what it held, tokenized apart.

    Attributes:
        kind: `single_line`, `multi_line` or `random_span`.
        middle_bytes: length of what it held.
    """

    kind: str
    source: str
    document: str
    prefix_T: Tokens
    middle_T: Tokens
    suffix_T: Tokens
    middle_bytes: int


def middles(
    shards: Shards, config: EvaluationConfig, split: Split, sources: Sequence[str], documents_per_source: int
) -> list[Middle]:
    """One middle of each kind in each of a split's first documents by hash; a document without lines that are short
    enough has none of lines.
    """
    found = []
    for source in sorted(sources):
        for name, text in islice(shards.held_out(split, source), documents_per_source):
            for kind, draw in KINDS.items():
                rng = keyed_rng(EVALUATION_SEED, key64(text) >> 1, kind)
                gap = draw(text, rng, config.infill_middle_bytes)
                if gap is not None:
                    found.append((kind, source, name, *_parts(text, gap, config.infill_context_bytes)))
    prefixes, texts, suffixes = (shards.tokenizer.encode([gap[part] for gap in found]) for part in (3, 4, 5))
    return [
        Middle(kind, source, name, prefix_T, middle_T, suffix_T, len(middle.encode()))
        for (kind, source, name, _, middle, _), prefix_T, middle_T, suffix_T in zip(
            found, prefixes, texts, suffixes, strict=True
        )
    ]


Gap = tuple[int, int]


def _parts(text: str, gap: Gap, context_bytes: int) -> tuple[str, str, str]:
    """Prefix, middle and suffix of a gap in characters; each side at most so many bytes."""
    first, last = gap
    before = text[max(0, first - context_bytes) : first].encode()[-context_bytes:]
    after = text[last : last + context_bytes].encode()[:context_bytes]
    return before.decode(errors="ignore"), text[first:last], after.decode(errors="ignore")


def _lines_gap(text: str, rng: np.random.Generator, most_bytes: int, counts: range) -> Gap | None:
    """A uniform choice among the runs of so many lines, none of them blank at the ends, that fit the bytes."""
    lines = text.splitlines(keepends=True)
    starts = np.concatenate([[0], np.cumsum([len(line) for line in lines])]).astype(int)
    sizes = np.concatenate([[0], np.cumsum([len(line.encode()) for line in lines])])
    is_blank = np.array([not line.strip() for line in lines], bool)
    fitting: list[Gap] = []
    for count in counts:
        if count <= len(lines):
            fits = (sizes[count:] - sizes[:-count] <= most_bytes) & ~is_blank[: len(lines) - count + 1]
            firsts = np.flatnonzero(fits & ~is_blank[count - 1 :])
            fitting += zip(starts[firsts].tolist(), starts[firsts + count].tolist(), strict=True)
    return fitting[int(rng.integers(len(fitting)))] if fitting else None


def _single_line(text: str, rng: np.random.Generator, most_bytes: int) -> Gap | None:
    return _lines_gap(text, rng, most_bytes, range(1, 2))


def _multi_line(text: str, rng: np.random.Generator, most_bytes: int) -> Gap | None:
    return _lines_gap(text, rng, most_bytes, range(2, 9))


def _random_span(text: str, rng: np.random.Generator, most_bytes: int) -> Gap | None:
    """A uniform length up to the bytes, at a uniform place."""
    length = min(int(rng.integers(1, most_bytes, endpoint=True)), len(text))
    first = int(rng.integers(0, len(text) - length, endpoint=True))
    while len(text[first : first + length].encode()) > most_bytes:
        length -= 1
    return (first, first + length) if length else None


KINDS: dict[str, Callable[[str, np.random.Generator, int], Gap | None]] = {
    "single_line": _single_line,
    "multi_line": _multi_line,
    "random_span": _random_span,
}


def score(
    model: Model, chosen: Sequence[Middle], prompts: Prompts, *, context_tokens: int, rows_per_batch: int
) -> pd.DataFrame:
    """Bits and bytes, hits and middles of each document, under each metric; see `table`.

    Args:
        model: in evaluation mode, under the precision it was trained in.
        chosen: what to score.
        prompts: how this arm is asked.
        context_tokens: that the model reads at once: sides that do not fit lose what is farthest from the middle.
        rows_per_batch: readings at once.
    """
    fitted = [_fitted(middle, context_tokens) for middle in chosen]
    left = [Reading(prompts.continuation(middle.prefix_T), middle.middle_T) for middle in fitted]
    both = list(_both(fitted, prompts))
    scores = score_readings(model, [*left, *both], context_tokens=context_tokens, rows_per_batch=rows_per_batch)

    def rows() -> Iterator[Row]:
        for middle, score in zip(fitted, scores, strict=False):
            bits = float(score.nll_S.sum()) / math.log(2)
            yield Row("infill_bpb_left", middle.source, middle.document, bits, middle.middle_bytes)
        for middle, score in zip(fitted, scores[len(left) :], strict=False):
            # The end token is no byte.
            bits = float(score.nll_S[:-1].sum()) / math.log(2)
            yield Row("infill_bpb_both", middle.source, middle.document, bits, middle.middle_bytes)
            is_met = bool(score.is_first_choice_S.all())
            yield Row(f"infill_exact_{middle.kind}", middle.source, middle.document, float(is_met), 1.0)

    return table(rows())


def _both(fitted: Sequence[Middle], prompts: Prompts) -> Iterator[Reading]:
    """Nothing for an arm that was not trained to infill."""
    end = np.array([prompts.objective.special.end_of_mask], np.int32)
    for number, middle in enumerate(fitted):
        rng = keyed_rng(EVALUATION_SEED, number, "format")
        prompt = prompts.infill(middle.prefix_T, middle.suffix_T, rng)
        if prompt is None:
            return
        yield Reading(prompt, np.concatenate([middle.middle_T, end]))


def _fitted(middle: Middle, context_tokens: int) -> Middle:
    """The middle with its sides cut to what the context holds."""
    room = max(0, context_tokens - len(middle.middle_T) - STRUCTURE_TOKENS)
    before, after = len(middle.prefix_T), len(middle.suffix_T)
    if before + after <= room:
        return middle
    before = min(before, max(room // 2, room - after))
    after = min(after, room - before)
    return Middle(
        **vars(middle)
        | {"prefix_T": middle.prefix_T[len(middle.prefix_T) - before :], "suffix_T": middle.suffix_T[:after]}
    )
