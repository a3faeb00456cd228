"""A program, its tests, what it may use, and what came of it."""

import ast
import builtins
import hashlib
import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

# Part of a result's key: raise it when a verdict could change.
PROTOCOL_VERSION = 1


@dataclass(frozen=True)
class Program:
    """A program that somebody else wrote, and its tests.

    Attributes:
        source: of the program. It sees neither `setup` nor `tests`.
        setup: code that the tests use, from the same trusted place.
        tests: code that raises where the program is wrong.
        functions: names in the tests that are the program's although `setup` defines them.
    """

    source: str
    tests: str
    setup: str = ""
    functions: tuple[str, ...] = ()

    @property
    def all_functions(self) -> list[str]:
        """All names in the tests that are the program's: also what they use, and neither define nor get from Python.

        Raises SyntaxError for tests that are not Python.
        """
        used, bound = _names(self.tests)
        _, in_setup = _names(self.setup)
        return sorted({*self.functions, *(used - bound - in_setup - vars(builtins).keys())})


def _names(code: str) -> tuple[set[str], set[str]]:
    """Return the names that code reads and those that it binds, in any scope."""
    used, bound = set[str](), set[str]()
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Name(name, ast.Load()):
                used.add(name)
            case ast.Name(name):
                bound.add(name)
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
                bound.add(name)
            case ast.arg(name):
                bound.add(name)
            case ast.Import(names) | ast.ImportFrom(names=names):
                bound |= {(alias.asname or alias.name).split(".")[0] for alias in names}
            case ast.ExceptHandler(name=str(name)):
                bound.add(name)
    return used, bound


@dataclass(frozen=True)
class Limits:
    """What a program may use.

    Attributes:
        cpu_seconds: of all its threads. Not time by the clock, so a busy machine changes no verdict.
        asleep_seconds: in which neither it nor its tests compute.
        memory_bytes: of address space.
        file_bytes: of its scratch folder, and of each file.
    """

    cpu_seconds: int = 5
    asleep_seconds: int = 10
    memory_bytes: int = 1 << 30
    file_bytes: int = 1 << 24


class Outcome(StrEnum):
    """How a program did."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_LOADED = "not loaded"
    ENDED = "ended early"
    OVER_LIMIT = "over a limit"


@dataclass(frozen=True)
class Verdict:
    """What came of a program.

    Attributes:
        reason: why it did not pass; "" where it did.
        level: name of the sandbox that held it.
    """

    outcome: Outcome
    reason: str
    level: str

    @property
    def passed(self) -> bool:
        """Whether every test passed."""
        return self.outcome is Outcome.PASSED


def verdict_key(program: Program, limits: Limits, level: str) -> str:
    """Return the digest of everything that a verdict depends on."""
    content: list[Any] = [PROTOCOL_VERSION, asdict(program), asdict(limits), level]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
