"""Infilling: the bytes of a middle, given the text around it.

`infill_bpb_both`: arms that were trained to infill, each prompted in its own format. `infill_bpb_left`: the same
middles after their left side alone, every arm. Both are also reported apart for `_aligned` middles, which begin and end
at token borders of their document, and for `_unaligned` ones, which do not occur in token-level training rows.
`infill_exact_<kind>`: the fraction of middles whose tokens are all the model's first choice, including the `<eom>` that
ends them: what greedy decoding would write.

The kinds are those of the benchmark of Bavarian et al. 2022 (section 2.3): one line, several lines, a random span.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.config.fields import Count
from ablate.config.trial import TrialConfig
from ablate.evaluation.amount import affordable
from ablate.evaluation.held_out import HeldOut, HeldOutDocument
from ablate.evaluation.overlap import Overlap, rows_with_clean, with_clean
from ablate.evaluation.passages import EVALUATION_SEED
from ablate.evaluation.reading import STRUCTURE_TOKENS, Reading, fitted_sides
from ablate.evaluation.suite import Row, Scorer, suite
from ablate.identity import corpus_content
from ablate.objectives.example import Tokens
from ablate.objectives.prompt import Prompts
from ablate.objectives.randomness import key64, keyed_rng
from ablate.records.metric import Direction, Metric

if TYPE_CHECKING:
    from ablate.evaluation.scoring import ModelReader

UNIT, SMALLEST_EFFECT = "bits per byte", 0.02


def _exact(kind: str, lines: str) -> Metric:
    return Metric(
        f"infill_exact_{kind}",
        f"fraction of middles ({lines}) that greedy decoding would write to the last token, end included; of arms that "
        "were trained to infill, more is better.",
        "fraction of middles",
        Direction.MAXIMIZE,
        None,
        needs_infill=True,
    )


def _bits(name: str, meaning: str, *, needs_infill: bool, variant_of: str | None = None) -> Metric:
    return Metric(name, meaning, UNIT, Direction.MINIMIZE, SMALLEST_EFFECT, needs_infill, variant_of=variant_of)


BORDERS = {
    "aligned": "of middles that begin and end at token borders of the document",
    "unaligned": "of middles that begin or end inside a token of the document",
}
METRICS = with_clean(
    (
        _bits(
            "infill_bpb_both",
            "bits per byte of middles, given the text on both sides, each arm prompted in the format it was trained "
            "in; only arms that were trained to infill have it.",
            needs_infill=True,
        ),
        _bits(
            "infill_bpb_left",
            "bits per byte of the same middles, given the text on their left alone: what an arm that can infill gains "
            "by the right side is the difference.",
            needs_infill=False,
        ),
        *(
            _bits(
                f"infill_bpb_{sides}_{border}",
                f"infill_bpb_{sides} {which}.",
                needs_infill=sides == "both",
                variant_of=f"infill_bpb_{sides}",
            )
            for border, which in BORDERS.items()
            for sides in ("both", "left")
        ),
        _exact("single_line", "one line"),
        _exact("multi_line", "two to eight lines"),
        _exact("random_span", "a random span"),
    )
)


@dataclass(frozen=True)
class Middle:
    """A gap in a held-out document: the text on its sides and the text that it held, tokenized apart.

    Attributes:
        kind: `single_line`, `multi_line` or `random_span`.
        middle_bytes: length of the text that it held.
        is_aligned: whether it begins and ends at token borders of its document.
        overlap: the number of 13-grams, sides included, that also occur in the training text, and of all.
    """

    kind: str
    source: str
    document: str
    prefix_T: Tokens
    middle_T: Tokens
    suffix_T: Tokens
    middle_bytes: int
    is_aligned: bool
    overlap: Overlap


def middle_count(trial: TrialConfig, middles_per_source: int | None) -> int:
    """Return the middles of each kind and source: as configured, or as many as a tenth of the training's time reads."""
    # Each is read twice, after its left side and between both; a reading is seldom longer than a window.
    return middles_per_source or affordable(trial, 2 * len(KINDS) * trial.scale.window_tokens)


def _data(trial: TrialConfig) -> Any:
    """Return what identifies the middles: the corpus, and their number where it follows from the budget."""
    count = trial.evaluation.suites["infill"].get("middles_per_source")
    return [corpus_content(trial), None if count else middle_count(trial, None)]


@suite(code_version=3, metrics=METRICS, data=_data)
def infill(held_out: HeldOut, *, middles_per_source: Count | None, context_bytes: Count, middle_bytes: Count) -> Scorer:
    """Score middles of each kind in the documents of each scored source.

    Args:
        held_out: the split.
        middles_per_source: how many of each kind and source; null: what a tenth of the training's time reads.
        context_bytes: the most text on either side of a middle.
        middle_bytes: the longest middle.
    """
    chosen = middles(held_out, middle_count(held_out.trial, middles_per_source), context_bytes, middle_bytes)
    return lambda reader: middle_rows(reader, chosen, held_out.prompts)


def middles(held_out: HeldOut, middles_per_source: int, context_bytes: int, middle_bytes: int) -> list[Middle]:
    """Return the middles of each kind: one of each document, then a second one of each, and so on.

    On the validation split, one of each document. A document without short enough lines has none of the kinds of lines.
    """
    gaps: list[tuple[str, HeldOutDocument, Gap]] = []
    for _, of_source in groupby(held_out.measured_documents(middles_per_source), key=lambda document: document.source):
        documents = list(of_source)
        for kind in KINDS:
            most = len(documents) if held_out.split == "validation" else middles_per_source
            gaps += [(kind, *place) for place in _spread(documents, kind, middle_bytes, most)]
    parts = [_parts(document.text, gap, context_bytes) for _, document, gap in gaps]
    prefixes, texts, suffixes, wholes = map(
        held_out.tokenizer.encode, zip(*((*part, "".join(part)) for part in parts), strict=True)
    )
    return [
        Middle(
            kind,
            document.source,
            document.name,
            prefix_T,
            middle_T,
            suffix_T,
            middle_bytes=len(part[1].encode()),
            is_aligned=np.array_equal(np.concatenate([prefix_T, middle_T, suffix_T]), whole_T),
            overlap=document.seen and document.seen.within(gap[0] - len(part[0]), gap[1] + len(part[2])),
        )
        for (kind, document, gap), part, prefix_T, middle_T, suffix_T, whole_T in zip(
            gaps, parts, prefixes, texts, suffixes, wholes, strict=True
        )
    ]


def _spread(
    documents: Sequence[HeldOutDocument], kind: str, most_bytes: int, most: int
) -> Iterator[tuple[HeldOutDocument, "Gap"]]:
    """Yield up to `most` different gaps of a kind, from the documents in turn."""
    yielded: set[tuple[str, Gap]] = set()
    # A document of few lines draws the same gap again; twice the turns find nearly all of them.
    for turn in range(2 * -(-most // len(documents))):
        for document in documents:
            if len(yielded) == most:
                return
            # The first turn has the key that one middle per document has.
            rng = keyed_rng(EVALUATION_SEED, key64(document.text) >> 1, kind if turn == 0 else f"{kind}{turn}")
            gap = KINDS[kind](document.text, rng, most_bytes)
            if gap is not None and (document.name, gap) not in yielded:
                yielded.add((document.name, gap))
                yield document, gap


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


def middle_rows(reader: "ModelReader", chosen: Sequence[Middle], prompts: Prompts) -> Iterator[Row]:
    """Bits and bytes, exact matches and middles of each document.

    Sides that do not fit the reader's context lose what is farthest from the middle.
    """
    fitted = [_fitted(middle, reader.context_tokens) for middle in chosen]
    left = [Reading(prompts.continuation(middle.prefix_T), middle.middle_T) for middle in fitted]
    both = list(_both(fitted, prompts))
    scores = reader.score([*left, *both])
    for middle, score in zip(fitted, scores, strict=False):
        yield from _rows(middle, "left", float(score.nll_S.sum()))
    for middle, score in zip(fitted, scores[len(left) :], strict=False):
        # The end token is no byte.
        yield from _rows(middle, "both", float(score.nll_S[:-1].sum()))
        is_exact = bool(score.is_first_choice_S.all())
        row = Row(f"infill_exact_{middle.kind}", middle.source, middle.document, float(is_exact), 1.0)
        yield from rows_with_clean(row, middle.overlap)


def _rows(middle: Middle, sides: str, nats: float) -> Iterator[Row]:
    border = "aligned" if middle.is_aligned else "unaligned"
    for metric in (f"infill_bpb_{sides}", f"infill_bpb_{sides}_{border}"):
        row = Row(metric, middle.source, middle.document, nats / math.log(2), middle.middle_bytes)
        yield from rows_with_clean(row, middle.overlap)


def _both(fitted: Sequence[Middle], prompts: Prompts) -> Iterator[Reading]:
    """Readings of the middles after both sides; none for an arm that was not trained to infill."""
    end = np.array([prompts.special.end_of_mask], np.int32)
    for number, middle in enumerate(fitted):
        rng = keyed_rng(EVALUATION_SEED, number, "format")
        prompt = prompts.infill(middle.prefix_T, middle.suffix_T, rng)
        if prompt is None:
            return
        yield Reading(prompt, np.concatenate([middle.middle_T, end]))


def _fitted(middle: Middle, context_tokens: int) -> Middle:
    """The middle with its sides truncated to the context."""
    room = context_tokens - len(middle.middle_T) - STRUCTURE_TOKENS
    if len(middle.prefix_T) + len(middle.suffix_T) <= room:
        return middle
    prefix_T, suffix_T = fitted_sides(middle.prefix_T, middle.suffix_T, room)
    return replace(middle, prefix_T=prefix_T, suffix_T=suffix_T)
