"""What Slurm's queue says of our jobs: one call of squeue for all batches, never sacct."""

import os
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

from ablate.errors import FailureError
from ablate.scheduling.launcher import JobState, Phase
from ablate.scheduling.launchers.slurm.script import job_name

# Array elements one by one; name, number in the array, number of the array, state, reason, nodes.
SQUEUE = ("squeue", "-h", "-r", "-t", "all", "-o", "%j|%K|%F|%T|%r|%N")
PENDING = {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
RUNNING = {"RUNNING", "COMPLETING", "CONFIGURING", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED"}
# Ended by the cluster and not by the trial, which goes on where it has saved.
PREEMPTED = {"PREEMPTED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL"}
TIMEOUT_SECONDS = 120.0
NO_ANSWER = "Slurm does not answer"


class NoAnswerError(FailureError):
    """Slurm's controller did not answer."""


def call(words: Sequence[str]) -> str:
    """Run one of Slurm's commands and return what it prints.

    Raises:
        FileNotFoundError: there is no such command on this machine.
        NoAnswerError: the controller cannot be reached.
        FailureError: the command failed, with what it said.
    """
    # Inside a job, its own variables would become defaults of the new one.
    environment = {name: value for name, value in os.environ.items() if name[:6] != "SLURM_" or name == "SLURM_CONF"}
    try:
        done = subprocess.run(
            words,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
            # Ctrl-C is for the command, and must not end a submission half-way.
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise NoAnswerError(f"{NO_ANSWER} within {TIMEOUT_SECONDS:.0f} s ({words[0]}).") from None
    if done.returncode == 0:
        return done.stdout
    lines = [line.removeprefix(f"{words[0]}: ").removeprefix("error: ") for line in done.stderr.splitlines()]
    text = "; ".join(filter(None, lines)) or f"{words[0]} exited with code {done.returncode}"
    is_silent = any(part in text.lower() for part in ("unable to contact", "timed out", "connection refused"))
    raise NoAnswerError(f"{NO_ANSWER}: {text}") if is_silent else FailureError(text)


def is_installed() -> bool:
    """Whether Slurm's commands are on this machine."""
    return shutil.which("sbatch") is not None and shutil.which("squeue") is not None


class Queue:
    """The newest answer of squeue, about every batch that this process has asked about."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._answer: dict[str, dict[int, JobState]] = {}
        self._problem: str | None = None
        self._asked_at = float("-inf")

    def states(self, batch: str, max_age_seconds: float) -> Mapping[int, JobState]:
        """Return the state of each job of a batch that Slurm still knows.

        Args:
            max_age_seconds: use an answer that is not older.

        Raises:
            NoAnswerError: Slurm does not answer.
            FileNotFoundError: this machine has no squeue.
        """
        if batch not in self._names or time.monotonic() - self._asked_at > max_age_seconds:
            self._names.add(batch)
            self._ask()
        if self._problem is not None:
            raise NoAnswerError(self._problem)
        return self._answer.get(batch, {})

    def forget(self) -> None:
        """Ask again next time."""
        self._asked_at = float("-inf")

    def _ask(self) -> None:
        names = {job_name(batch): batch for batch in self._names}
        answer: dict[str, dict[int, JobState]] = defaultdict(dict)
        self._problem = None
        try:
            for line in call([*SQUEUE, f"--name={','.join(sorted(names))}"]).splitlines():
                name, number, array, state, reason, nodes = line.split("|", 5)
                if name in names and number.isdecimal():
                    answer[names[name]][int(number)] = job_state(state, reason, f"{array}_{number}", nodes)
        except FailureError as error:
            self._problem = str(error)
        self._asked_at = time.monotonic()
        self._answer = answer


QUEUE = Queue()


def job_state(state: str, reason: str, number: str, nodes: str) -> JobState:
    """Return a state of squeue in our terms."""
    if state in PENDING:
        waits_for = reason if reason not in ("None", "") else state.lower()
        return JobState(Phase.PENDING, detail=waits_for, number=number)
    if state in RUNNING:
        return JobState(Phase.RUNNING, number=number, nodes=nodes)
    text = state.lower().replace("_", " ")
    if state in PREEMPTED:
        return JobState(Phase.PREEMPTED, detail=text, number=number, nodes=nodes)
    if state == "CANCELLED":
        return JobState(Phase.CANCELLED, detail=text, number=number, nodes=nodes)
    is_failure = state != "COMPLETED"
    return JobState(Phase.ENDED, int(is_failure), text if is_failure else "", number, nodes)
