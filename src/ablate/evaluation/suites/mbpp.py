"""MBPP (Austin et al. 2021): programs that a model writes after a description and their first test."""

from collections.abc import Iterator

from ablate.evaluation.benchmark_file import Rows
from ablate.evaluation.problems import Problem
from ablate.evaluation.problems import mbpp as read
from ablate.evaluation.programming_suite import bits_metric, passing, programming_suite

# A program has several functions, so a definition ends none.
STOPS = ('\n"""', "\n'''", "\nassert", "\nprint(", "\nif __name__")
# Tasks of the paper's test split; the others are for prompts, fine-tuning and validation.
TEST = range(11, 511)


def mbpp_test(rows: Rows) -> Iterator[Problem]:
    """Yield the problems of the test split."""
    return read(row for row in rows if row["task_id"] in TEST)


mbpp = programming_suite(
    "mbpp",
    "Score the programs that a model writes after a description and a test, and the reference solutions.",
    mbpp_test,
    (
        bits_metric("mbpp_bpb", "bits per byte of MBPP's reference solutions, given description and first test."),
        *passing("mbpp", "an MBPP problem"),
    ),
    stop_strings=STOPS,
    fetch="mbpp.jsonl (github.com/google-research/google-research, CC-BY-4.0)",
)
