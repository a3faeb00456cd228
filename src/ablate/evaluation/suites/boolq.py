"""BoolQ (Clark et al. 2019): yes or no, after a passage that answers the question."""

from collections.abc import Iterator

from ablate.evaluation.benchmark_file import HubSplit, Rows
from ablate.evaluation.question_suite import choice_metrics, question_suite
from ablate.evaluation.questions import Question, yes_or_no


def passages(rows: Rows) -> Iterator[Question]:
    """Yield a question per passage."""
    for number, row in enumerate(rows):
        yield yes_or_no(f"BoolQ/{number}", row["passage"], f"{row['question']}?", is_yes=row["answer"])


boolq = question_suite(
    "boolq",
    "Score whether a model finds yes or no likelier.",
    passages,
    HubSplit("google/boolq", "validation"),
    choice_metrics("boolq", "a BoolQ question"),
)
