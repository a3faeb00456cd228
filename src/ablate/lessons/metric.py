"""What each metric asks, in which unit, and which way is better."""

from dataclasses import dataclass

BITS = "bits per byte"


@dataclass(frozen=True)
class Metric:
    """A metric that trials are scored by.

    Attributes:
        meaning: for people, below a table.
        unit: of its values and of the smallest effect on it.
        less_is_better: whether a smaller value is the better one.
        needs_infill: whether only arms that were trained to infill have it.
    """

    meaning: str
    unit: str = BITS
    less_is_better: bool = True
    needs_infill: bool = False


def _exact(kind: str) -> Metric:
    return Metric(
        f"share of middles ({kind}) that greedy sampling would write to the last token, end included; of arms that "
        "were trained to infill, more is better.",
        unit="share of middles",
        less_is_better=False,
        needs_infill=True,
    )


METRICS = {
    "bpb_full": Metric(
        "bits per byte of whole held-out passages, which every arm reads left to right, token by token: what a causal "
        "model is trained for."
    ),
    "bpb_continuation": Metric(
        "bits per byte of each passage's second half, given its first half, which each arm reads in its own way (a "
        "prefix model sees it in both directions): the fair one for arms trained on prefixes."
    ),
    "infill_bpb_both": Metric(
        "bits per byte of middles, given the text on both sides, each arm asked in the format it was trained in; only "
        "arms that were trained to infill have it.",
        needs_infill=True,
    ),
    "infill_bpb_left": Metric(
        "bits per byte of the same middles, given the text on their left alone: what an arm that can infill gains by "
        "the right side is the difference."
    ),
    "infill_exact_single_line": _exact("one line"),
    "infill_exact_multi_line": _exact("two to eight lines"),
    "infill_exact_random_span": _exact("a random span"),
}


def metric(name: str) -> Metric:
    """The metric of a name, with or without a source behind a slash."""
    return METRICS[name.split("/")[0]]
