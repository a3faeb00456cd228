"""Registers suites of questions: their parameters, their metrics and their data."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ablate.config.fields import Count, CountOrZero
from ablate.config.trial import TrialConfig
from ablate.data.corpus.cache import cache_folder
from ablate.errors import UsageError
from ablate.evaluation.benchmark_file import HubSplit, Rows, by_hash, chosen, content_id, items, named_file
from ablate.evaluation.held_out import HeldOut
from ablate.evaluation.prompting import Prompting
from ablate.evaluation.questions import Question, Quiz
from ablate.evaluation.suite import Scorer, suite
from ablate.records.metric import Direction, Metric


def question_suite(
    name: str, about: str, read: Callable[[Rows], Iterator[Question]], hub: HubSplit, metrics: Sequence[Metric]
) -> Callable[..., Scorer]:
    """Register a suite and return its function.

    Args:
        about: what it scores, as a sentence.
        read: makes questions of a file's rows.
        hub: where the data come from if no file is named.
        metrics: see `choice_metrics` and `continuation_metrics`.
    """

    def file_of(trial: TrialConfig, path: str | None) -> Path:
        if path is None:
            folder = cache_folder(trial.cache_dir) / "benchmarks"
            return hub.file(folder, f"evaluation.suites.{name}.file")
        folder = Path(path).expanduser()
        return hub.file_in(folder) if folder.is_dir() else named_file(path)

    def content(trial: TrialConfig) -> Any:
        return content_id(file_of(trial, trial.evaluation.suites[name]["file"]))

    def score(
        held_out: HeldOut,
        *,
        file: str | None,
        max_questions: Count | None,
        shots: CountOrZero,
        leading_end_of_text: bool,
    ) -> Scorer:
        questions = items(read, file_of(held_out.trial, file), "question")
        if shots >= len(questions):
            raise UsageError(
                f"evaluation.suites.{name}.shots={shots}: the file has {len(questions)} questions, of which shots are "
                f"taken and the others scored. Type evaluation.suites.{name}.shots=0, or give a larger file."
            )
        before = by_hash(questions)[:shots]
        scored = chosen([question for question in questions if question not in before], max_questions)
        declared = frozenset(metric.name.removeprefix(f"{name}_") for metric in metrics)
        return Quiz(name, scored, before, Prompting(held_out, leading_end_of_text), declared).rows

    score.__name__ = score.__qualname__ = name
    score.__doc__ = about
    return suite(code_version=1, metrics=metrics, data=content, reads_corpus=False, operational=["file"])(score)


def choice_metrics(suite: str, question: str) -> tuple[Metric, ...]:
    """Return the metrics of questions with several answers.

    Args:
        question: what one is called, with an article.
    """
    return (
        Metric(
            f"{suite}_margin",
            f"bits by which the best wrong answer to {question} is less likely than the right one: positive where the "
            "model is right, and defined long before it is right more often than by chance.",
            "bits",
            Direction.MAXIMIZE,
            0.1,
        ),
        _fraction(f"{suite}_acc", f"fraction of the questions where the right answer to {question} is the likeliest."),
        _fraction(f"{suite}_acc_norm", f"{suite}_acc with the bits of each answer divided by its bytes."),
        _bits(f"{suite}_bpb", f"bits per byte of the right answer to {question}."),
    )


def continuation_metrics(suite: str, text: str) -> tuple[Metric, ...]:
    """Return the metrics of texts that a model continues: bits per byte, and whether greedy decoding writes them."""
    return (
        _bits(f"{suite}_bpb", f"bits per byte of {text}."),
        _fraction(f"{suite}_acc", f"fraction of the questions where greedy decoding writes {text}."),
    )


def _bits(name: str, meaning: str) -> Metric:
    return Metric(name, meaning, "bits per byte", Direction.MINIMIZE, 0.02)


def _fraction(name: str, meaning: str) -> Metric:
    return Metric(name, meaning, "fraction of questions", Direction.MAXIMIZE, 0.01)
