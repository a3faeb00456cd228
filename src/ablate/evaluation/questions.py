"""Questions with one right answer among given ones, scored by the bits of each answer after the prompt.

Every understanding suite is made of them. A question with a single answer is a text to be continued.

Shapes: `T` tokens.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ablate.evaluation.prompting import Prompting
from ablate.evaluation.reading import STRUCTURE_TOKENS, Reading
from ablate.evaluation.suite import Row
from ablate.objectives.example import Tokens

if TYPE_CHECKING:
    from ablate.evaluation.scoring import ModelReader

# Every benchmark is one source.
SOURCE = ""


@dataclass(frozen=True)
class Question:
    """A question.

    Attributes:
        name: unique in its benchmark.
        prompt: the text before the answer.
        answers: each begins as it continues the prompt, mostly with a space.
        right: the index of the right answer.
    """

    name: str
    prompt: str
    answers: tuple[str, ...]
    right: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for a question that cannot be scored."""
        if not 0 <= self.right < len(self.answers):
            raise ValueError(f"{self.name}: answer {self.right} of {len(self.answers)} is right")
        if not all(map(str.strip, self.answers)):
            raise ValueError(f"{self.name}: an answer is empty")

    @property
    def text(self) -> str:
        """The prompt with the right answer."""
        return self.prompt + self.answers[self.right]


def yes_or_no(name: str, text: str, question: str, *, is_yes: bool) -> Question:
    """Return a question about a text that stands before it."""
    return Question(name, f"{text}\nQuestion: {question}\nAnswer:", (" no", " yes"), int(is_yes))


@dataclass(frozen=True)
class Answer:
    """What a model gives to an answer: its bits, and whether greedy decoding would write it."""

    bits: float
    bytes: int
    is_first_choice: bool


@dataclass(frozen=True)
class Quiz:
    """The questions of a suite, and how a model is asked.

    Attributes:
        suite: its name, with which its metrics begin.
        questions: those that are scored.
        shots: questions that stand before each of them with their right answer.
        metrics: names, without the suite's, of those that the suite declares.
    """

    suite: str
    questions: Sequence[Question]
    shots: Sequence[Question]
    prompting: Prompting
    metrics: frozenset[str]

    def rows(self, reader: "ModelReader") -> Iterator[Row]:
        """Yield the rows of each question."""
        readings, cut = self._readings(reader.context_tokens)
        if cut:
            reader.run.conditions["cut_prompts"] = f"{cut:,} of {len(self.questions):,}"
        scores = iter(reader.score(readings))
        for question in self.questions:
            answers = []
            for text in question.answers:
                score = next(scores)
                bits = float(score.nll_S.sum()) / math.log(2)
                answers.append(Answer(bits, len(text.encode()), bool(score.is_first_choice_S.all())))
            for metric, amount, units in metric_amounts(question, answers):
                if metric in self.metrics:
                    yield Row(f"{self.suite}_{metric}", SOURCE, question.name, amount, units)

    @cached_property
    def _tokens(self) -> list[tuple[Tokens, list[Tokens]]]:
        """(prompt, answers) of each question."""
        encode = self.prompting.held_out.tokenizer.encode
        before = "".join(f"{shot.text}\n\n" for shot in self.shots)
        prompts = encode([before + question.prompt for question in self.questions])
        answers = iter(encode([answer for question in self.questions for answer in question.answers]))
        return [
            (prompt_T, [next(answers) for _ in question.answers])
            for prompt_T, question in zip(prompts, self.questions, strict=True)
        ]

    def _readings(self, context_tokens: int) -> tuple[list[Reading], int]:
        """Return the readings of all answers in their order, and how many prompts lost their start."""
        readings, cut = [], 0
        for prompt_T, answers in self._tokens:
            # All answers of a question follow the same prompt.
            longest = max(map(len, answers))
            room = max(context_tokens // 2, context_tokens - longest) - STRUCTURE_TOKENS
            cut += len(prompt_T) > room
            prompt = self.prompting.continuation(prompt_T, room)
            readings += [Reading(prompt, answer_T) for answer_T in answers]
        return readings, cut


def metric_amounts(question: Question, answers: Sequence[Answer]) -> Iterator[tuple[str, float, float]]:
    """Yield (metric, amount, units) of an answered question.

    Of a question with one answer: `acc`, whether greedy decoding would write it, and its `bpb`. With more: `acc`,
    whether the right one has the fewest bits; `acc_norm`, the fewest bits per byte; `margin`, by how many bits the best
    wrong one is behind; and the right one's `bpb`. A tie is no right answer.
    """
    right = answers[question.right]
    wrong = [answer for index, answer in enumerate(answers) if index != question.right]
    yield "bpb", right.bits, right.bytes
    if not wrong:
        yield "acc", float(right.is_first_choice), 1.0
        return
    margin = min(answer.bits for answer in wrong) - right.bits
    yield "margin", margin, 1.0
    yield "acc", float(margin > 0), 1.0
    yield "acc_norm", float(min(answer.bits / answer.bytes for answer in wrong) > right.bits / right.bytes), 1.0
