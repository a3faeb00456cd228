"""The options of `launcher=slurm`, and what is wrong with them before Slurm is asked."""

import re
from dataclasses import dataclass, fields

from ablate.errors import UsageError

# What ablate sets by itself. Slurm takes a short form of some.
OWN_FLAGS = {
    "--array": "max_running",
    "-a": "max_running",
    "--job-name": "",
    "-J": "",
    "--nodes": "hardware.nodes",
    "-N": "hardware.nodes",
    "--ntasks": "hardware.devices",
    "-n": "hardware.devices",
    "--ntasks-per-node": "hardware.devices",
    "--cpus-per-task": "cpus_per_rank",
    "-c": "cpus_per_rank",
    "--output": "",
    "-o": "",
    "--open-mode": "",
    "--requeue": "",
    "--no-requeue": "",
    "--signal": "signal_seconds",
    "--wrap": "",
    "--wait": "",
    "--parsable": "",
}
TIME = re.compile(r"(?:(?P<days>\d+)-(?P<of_day>\d+(?::\d+){0,2})|(?P<minutes>\d+)(?P<rest>(?::\d+){0,2}))")
UNLIMITED = ("INFINITE", "UNLIMITED")


@dataclass(frozen=True, kw_only=True)
class SlurmOptions:
    """What users may ask of Slurm; null leaves it to the cluster.

    Attributes:
        max_running: how many trials run at once.
        max_submitted: how many jobs this command has with Slurm at once, where a quota limits them.
        partition, account, qos, constraint, mem: as sbatch takes them.
        time: the limit of a job. A trial that needs longer saves, and goes on in the same job.
        signal_seconds: seconds before the limit at which a trial is told to save.
        gres: null: `gpu:DEVICES` where hardware.accelerator=gpu.
        cpus_per_rank: null: hardware.threads_per_trial + hardware.loader_workers.
        modules: loaded before the trial starts.
        setup: lines of the script before the trial starts.
        flags: any other flags of sbatch.
        srun_flags: flags of srun.
        python: that the nodes run; null: the one that runs this command.
        poll_seconds: seconds between two calls of squeue.
    """

    max_running: int | None
    max_submitted: int | None
    partition: str | None
    account: str | None
    qos: str | None
    time: str | int | None
    signal_seconds: int
    gres: str | None
    constraint: str | None
    mem: str | int | None
    cpus_per_rank: int | None
    modules: tuple[str, ...]
    setup: tuple[str, ...]
    flags: tuple[str, ...]
    srun_flags: tuple[str, ...]
    python: str | None
    poll_seconds: float

    def check(self) -> None:
        """Raise UsageError for values that Slurm cannot take or that contradict what ablate sets."""
        for name in ("max_running", "max_submitted", "cpus_per_rank", "poll_seconds"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UsageError(f"launcher.{name}={value}: should be greater than 0, or null.")
        for name in ("flags", "srun_flags"):
            for flag in getattr(self, name):
                self._check_flag(name, flag)
        seconds = None if self.time is None else time_seconds(str(self.time))
        if self.signal_seconds < 0 or (seconds is not None and seconds <= self.signal_seconds):
            raise UsageError(
                f"launcher.signal_seconds={self.signal_seconds}: should be from 0 up and below launcher.time="
                f"{self.time}. A trial is asked to save so many seconds before its job's time limit."
            )

    @staticmethod
    def _check_flag(name: str, flag: str) -> None:
        if not flag.startswith("-"):
            raise UsageError(f"launcher.{name}: {flag}: is no flag. Type 'launcher.{name}=[\"--NAME=VALUE\"]'")
        word = flag.partition("=")[0].split()[0]
        if name == "flags" and word in OWN_FLAGS:
            key = OWN_FLAGS[word]
            instead = f"Type {key if '.' in key else f'launcher.{key}'}=…" if key else "Leave it out."
            raise UsageError(f"launcher.flags: {flag}: set by ablate. {instead}")
        known = {field.name.replace("_", "-") for field in fields(SlurmOptions)}
        if name == "flags" and word.startswith("--") and word[2:] in known:
            raise UsageError(f"launcher.flags: {flag}: has a key of its own. Type launcher.{word[2:]}=…")


def time_seconds(text: str) -> int | None:
    """Return a time limit as Slurm reads it, in seconds; None for no limit. Raises UsageError.

    >>> time_seconds("90"), time_seconds("4:00:00"), time_seconds("2-12"), time_seconds("UNLIMITED")
    (5400, 14400, 216000, None)
    """
    if text.upper() in UNLIMITED:
        return None
    match = TIME.fullmatch(text)
    if match is None:
        raise UsageError(
            f"launcher.time={text}: should be minutes, hours:minutes:seconds or days-hours, as 90, 4:00:00 or 2-12."
        )
    if match["days"] is not None:
        hours, minutes, seconds = ([int(part) for part in match["of_day"].split(":")] + [0, 0])[:3]
        return ((int(match["days"]) * 24 + hours) * 60 + minutes) * 60 + seconds
    parts = [int(part) for part in text.split(":")]
    hours, minutes, seconds = parts if len(parts) == 3 else [0, *parts, 0][:3]
    return (hours * 60 + minutes) * 60 + seconds
