"""Defect detection (Devign, Zhou et al. 2019, in CodeXGLUE's splits): whether a C function is defective.

The likelihood of yes and no after the function, and neither fine-tuning nor a probe: it compares what pre-training
taught, needs no training split, and adds no noise of a second training.
"""

from collections.abc import Iterator

from ablate.evaluation.benchmark_file import HubSplit, Rows
from ablate.evaluation.question_suite import choice_metrics, question_suite
from ablate.evaluation.questions import Question, yes_or_no


def functions(rows: Rows) -> Iterator[Question]:
    """Yield a question per function."""
    for row in rows:
        yield yes_or_no(f"Devign/{row['id']}", row["func"], "Is this function defective?", is_yes=row["target"])


defect_detection = question_suite(
    "defect_detection",
    "Score whether a model finds it likelier that a function is defective.",
    functions,
    HubSplit("google/code_x_glue_cc_defect_detection", "test"),
    choice_metrics("defect_detection", "a Devign function"),
)
