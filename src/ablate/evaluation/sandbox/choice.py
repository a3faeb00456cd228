"""Which level holds programs here: the strongest that passes a trial of its own."""

import socket
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from ablate.errors import FailureError
from ablate.evaluation.sandbox.levels import Level, available
from ablate.evaluation.sandbox.program import Limits, Program
from ablate.evaluation.sandbox.run import run

# Each tries what a level has to prevent; its test passes only if it succeeds.
PROBES = {
    "reads a file": "def f(path, port): return open(path).read()",
    "writes a file": "def f(path, port):\n    open(path + '.2', 'w').close()\n    return 'secret'",
    "connects to a socket": "import socket\ndef f(path, port):\n    socket.create_connection(('127.0.0.1', port), 2)\n"
    "    return 'secret'",
    "starts a process": "import os\ndef f(path, port):\n    os.fork()\n    return 'secret'",
    "sends a signal": "import os\ndef f(path, port):\n    os.kill(os.getppid(), 0)\n    return 'secret'",
}


def problem_of(level: Level) -> str | None:
    """Return why a level does not hold programs here, or None."""
    limits = Limits(cpu_seconds=2, asleep_seconds=5)
    try:
        works = run(Program("def f(x): return x + 1", "assert f(1) == 2"), limits, level)
        if not works.passed:
            return works.reason or str(works.outcome)
        with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
            # Everybody may read it, so nothing but the level keeps it.
            path = Path(folder, "file")
            path.parent.chmod(0o777)
            path.write_text("secret")
            port = server.getsockname()[1]
            for deed, source in PROBES.items():
                if run(Program(source, f"assert f({str(path)!r}, {port}) == 'secret'"), limits, level).passed:
                    return f"a program in it {deed}"
    except OSError as error:
        return str(error)
    return None


def first_level(levels: Sequence[Level], problem: Callable[[Level], str | None] = problem_of) -> Level:
    """Return the first level that holds programs. Raises FailureError where none does."""
    problems = []
    for level in levels:
        reason = problem(level)
        if reason is None:
            return level
        problems.append(f"  {level.name}: {reason}")
    tried = "\n".join(problems) or "  none of its levels is made for this system"
    raise FailureError(
        f"Programs that a model wrote are run in a sandbox alone, and none works here:\n{tried}\n"
        "Install bubblewrap, or use Linux 5.13 or newer (docs/sandbox.md)."
    )


@cache
def level_here() -> Level:
    """Return the level of this machine; see `first_level`."""
    return first_level(available())
