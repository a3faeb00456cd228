"""LAMBADA (Paperno et al. 2016): the last word of passages that people only guess with the whole passage at hand."""

from collections.abc import Iterator

from ablate.evaluation.benchmark_file import HubSplit, Rows
from ablate.evaluation.question_suite import continuation_metrics, question_suite
from ablate.evaluation.questions import Question


def passages(rows: Rows) -> Iterator[Question]:
    """Yield a question per passage: all but the last word, and the last word."""
    for number, row in enumerate(rows):
        text, _, word = row["text"].rstrip().rpartition(" ")
        yield Question(f"LAMBADA/{number}", text, (f" {word}",))


lambada = question_suite(
    "lambada",
    "Score the last word of passages.",
    passages,
    HubSplit("EleutherAI/lambada_openai", "test", "en"),
    continuation_metrics("lambada", "the last word of a LAMBADA passage, given the rest"),
)
