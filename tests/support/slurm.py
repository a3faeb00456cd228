"""A made-up Slurm in this process: what its commands answer, and jobs that end as a test says."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ablate.scheduling.launchers.slurm import launcher, queue
from ablate.scheduling.launchers.slurm.launcher import SlurmLauncher
from ablate.scheduling.launchers.slurm.options import SlurmOptions

OPTIONS: dict[str, Any] = {
    **dict.fromkeys(("max_running", "max_submitted", "partition", "account", "qos", "time", "gres", "constraint")),
    **dict.fromkeys(("mem", "cpus_per_rank", "python")),
    **dict.fromkeys(("modules", "setup", "flags", "srun_flags"), ()),
    "signal_seconds": 120,
    "poll_seconds": 0.001,
}


def slurm_options(**changes: Any) -> SlurmOptions:
    """The defaults of conf/hydra/launcher/slurm.yaml, asked often."""
    return SlurmOptions(**OPTIONS | changes)


def slurm_launcher(**changes: Any) -> SlurmLauncher:
    return SlurmLauncher(slurm_options(**changes))


@dataclass
class FakeSlurm:
    """Jobs by (name of the array, number) with their state; see `jobs` and `set`.

    Attributes:
        calls: the commands that were called.
        problems: command → the error that it ends with.
        script: by name, the script of each array.
    """

    array_size: int = 1001
    partitions: Sequence[str] = ("low", "high")
    calls: list[list[str]] = field(default_factory=list)
    problems: dict[str, Exception] = field(default_factory=dict)
    script: dict[str, str] = field(default_factory=dict)
    jobs: dict[tuple[str, int], str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)

    def call(self, words: Sequence[str]) -> str:
        """Stand for `queue.call`."""
        self.calls.append(list(words))
        if words[0] in self.problems:
            raise self.problems[words[0]]
        answer: str = getattr(self, words[0])(*words[1:])
        return answer

    def called(self, name: str) -> list[list[str]]:
        """The calls of one command."""
        return [call for call in self.calls if call[0] == name]

    def sinfo(self, *words: str) -> str:
        return "\n".join(self.partitions)

    def scontrol(self, *words: str) -> str:
        return f"ClusterName = fake\nMaxArraySize            = {self.array_size}\n"

    def sbatch(self, *words: str) -> str:
        text = Path(words[-1]).read_text()
        flags = dict(re.findall(r"#SBATCH --([\w-]+)=(\S+)", text))
        name = flags["job-name"]
        self.script[name] = text
        self.numbers[name] = len(self.numbers) + 1
        for number in _numbers(flags["array"].partition("%")[0]):
            self.jobs[name, number] = "PENDING|Priority|"
        return f"{self.numbers[name]}\n"

    def squeue(self, *words: str) -> str:
        names = words[-1].removeprefix("--name=").split(",")
        rows = [(name, number, state) for (name, number), state in self.jobs.items() if name in names]
        return "".join(f"{name}|{number}|{self.numbers[name]}|{state}\n" for name, number, state in rows)

    def scancel(self, *words: str) -> str:
        for word in words:
            if match := re.fullmatch(r"(\d+)(?:_\[([\d,-]+)\])?", word):
                name = next(name for name, number in self.numbers.items() if number == int(match[1]))
                chosen = _numbers(match[2]) if match[2] else range(self.array_size)
                for place in self.jobs:
                    if place[0] == name and place[1] in chosen and "--signal=USR1" not in words:
                        self.jobs[place] = "CANCELLED|None|"
        return ""

    def set(self, state: str, number: int = 0) -> None:
        """Set the state of a job of the newest array, as STATE|REASON|NODES."""
        self.jobs[next(reversed(self.numbers)), number] = state

    def forget(self) -> None:
        """Let Slurm know no job, as minutes after their end."""
        self.jobs.clear()

    @contextmanager
    def installed(self) -> Iterator["FakeSlurm"]:
        """Stand for the Slurm of this machine inside the block."""
        with (
            patch.object(queue, "call", self.call),
            patch.object(launcher, "call", self.call),
            patch.object(launcher, "is_installed", lambda: True),
            patch.object(launcher, "QUEUE", queue.Queue()),
            patch.object(launcher, "cluster_name", cache(launcher.cluster_name.__wrapped__)),
            patch.object(launcher, "ELSEWHERE_SECONDS", 0.0),
        ):
            yield self


def _numbers(text: str) -> list[int]:
    """The numbers of 0-2,5."""
    parts = [part.split("-") for part in text.split(",")]
    return [number for part in parts for number in range(int(part[0]), int(part[-1]) + 1)]
