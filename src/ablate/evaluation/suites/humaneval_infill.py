"""HumanEval infilling (Bavarian et al. 2022, section 2.3): parts of HumanEval's solutions, written between their sides.

Single lines and runs of lines are derived from HumanEval as the benchmark says; random spans are read from its file.
An arm that was not trained to infill has `…_bpb_left` alone: the same middles after the text on their left.
"""

from ablate.evaluation.problems import multi_line, released_infilling, single_line
from ablate.evaluation.programming_suite import bits_metric, passing, programming_suite
from ablate.records.metric import Direction, Metric

RANDOM_SPANS = "HumanEval-RandomSpanInfilling.jsonl.gz (github.com/openai/human-eval-infilling, MIT)"


def _metrics(name: str, middles: str) -> tuple[Metric, ...]:
    noun = f"HumanEval with {middles} left out"
    middles = f"{middles} of HumanEval's solutions"
    return (
        bits_metric(
            f"{name}_bpb",
            f"bits per byte of {middles}, given the text on both sides, each arm prompted in the format it was trained "
            "in.",
            needs_infill=True,
        ),
        bits_metric(f"{name}_bpb_left", f"bits per byte of {middles}, given the text on their left alone."),
        Metric(
            f"{name}_exact",
            f"fraction of {middles} that greedy decoding would write to the last token, end included.",
            "fraction of middles",
            Direction.MAXIMIZE,
            0.02,
            needs_infill=True,
        ),
        *passing(name, noun, needs_infill=True),
    )


humaneval_single_line = programming_suite(
    "humaneval_single_line",
    "Score single lines of HumanEval's solutions.",
    single_line,
    _metrics("humaneval_single_line", "single lines"),
    infills=True,
)
humaneval_multi_line = programming_suite(
    "humaneval_multi_line",
    "Score runs of lines of HumanEval's solutions.",
    multi_line,
    _metrics("humaneval_multi_line", "runs of lines"),
    infills=True,
)
humaneval_random_span = programming_suite(
    "humaneval_random_span",
    "Score random spans of HumanEval's solutions.",
    released_infilling,
    _metrics("humaneval_random_span", "random spans"),
    infills=True,
    fetch=RANDOM_SPANS,
)
