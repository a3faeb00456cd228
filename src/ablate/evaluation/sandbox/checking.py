"""Verdicts on many programs: side by side, each kind once."""

import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ablate.evaluation.sandbox.levels import Level
from ablate.evaluation.sandbox.program import Limits, Outcome, Program, Verdict, verdict_key
from ablate.evaluation.sandbox.run import run
from ablate.files import write_json


@dataclass(frozen=True)
class Checker:
    """Judges programs.

    Attributes:
        folder: has the verdicts by `verdict_key`, so that an equal program is not run again.
        workers: programs at a time; each has two processes that take turns.
    """

    level: Level
    limits: Limits
    folder: Path
    workers: int = os.cpu_count() or 1

    def verdicts(self, programs: Iterable[Program]) -> Iterator[Verdict]:
        """Yield the verdict on each program, in their order."""
        queue = iter(programs)
        with ThreadPoolExecutor(self.workers) as pool:
            waiting = [pool.submit(self.verdict, program) for program in islice(queue, 2 * self.workers)]
            while waiting:
                yield waiting.pop(0).result()
                waiting += [pool.submit(self.verdict, program) for program in islice(queue, 1)]

    def verdict(self, program: Program) -> Verdict:
        """Return the verdict on a program, a stored one if there is one."""
        key = verdict_key(program, self.limits, self.level.name)
        path = self.folder / key[:2] / f"{key}.json"
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            stored = json.loads(path.read_bytes())
            return Verdict(Outcome(stored["outcome"]), stored["reason"], self.level.name)
        verdict = run(program, self.limits, self.level)
        write_json(path, {"outcome": verdict.outcome, "reason": verdict.reason})
        return verdict
