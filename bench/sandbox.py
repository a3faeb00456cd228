"""Run HumanEval's reference solutions in each level of the sandbox, and time 20 programs of each problem.

    python bench/sandbox.py [--samples 20] [--workers 2] [--level landlock]

Every program differs by a comment, so none is answered from the cache. All pass, so all run their tests to the end.
CPU seconds are those of this process and of the programs.
"""

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

from ablate.evaluation.problems import humaneval, problems
from ablate.evaluation.sandbox.checking import Checker
from ablate.evaluation.sandbox.choice import problem_of
from ablate.evaluation.sandbox.levels import available
from ablate.evaluation.sandbox.program import Limits


def cpu_seconds() -> float:
    """Return what this process and its children that have ended have used."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def main() -> None:
    """Measure and print a line per level."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--level", nargs="+")
    given = parser.parse_args()
    found = problems(humaneval, None)
    for level in available():
        if given.level and level.name not in given.level:
            continue
        if (problem := problem_of(level)) is not None:
            print(json.dumps({"level": level.name, "does not hold here": problem}), flush=True)
            continue
        for samples in (1, given.samples):
            programs = [one.program(f"{one.reference}# {n}\n") for n in range(samples) for one in found]
            with tempfile.TemporaryDirectory() as folder:
                started, cpu_started = time.perf_counter(), cpu_seconds()
                verdicts = Checker(level, Limits(), Path(folder), given.workers).verdicts(programs)
                outcomes = Counter(str(verdict.outcome) for verdict in verdicts)
            times = {
                "seconds": round(time.perf_counter() - started, 1),
                "CPU seconds": round(cpu_seconds() - cpu_started, 1),
            }
            print(json.dumps({"level": level.name, "programs": len(programs), **times, **outcomes}), flush=True)


if __name__ == "__main__":
    main()
