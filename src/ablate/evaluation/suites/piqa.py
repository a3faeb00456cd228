"""PIQA (Bisk et al. 2020): which of two ways reaches an everyday goal."""

from collections.abc import Iterator

from ablate.evaluation.benchmark_file import HubSplit, Rows
from ablate.evaluation.question_suite import choice_metrics, question_suite
from ablate.evaluation.questions import Question


def goals(rows: Rows) -> Iterator[Question]:
    """Yield a question per goal. The test split of the paper has no labels."""
    for number, row in enumerate(rows):
        answers = (f" {row['sol1']}", f" {row['sol2']}")
        yield Question(f"PIQA/{number}", f"Question: {row['goal']}\nAnswer:", answers, int(row["label"]))


piqa = question_suite(
    "piqa",
    "Score which of two solutions a model finds likelier.",
    goals,
    HubSplit("baber/piqa", "validation"),
    choice_metrics("piqa", "a PIQA question"),
)
