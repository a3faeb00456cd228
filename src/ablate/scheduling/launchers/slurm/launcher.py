"""Jobs as arrays of Slurm: one call of sbatch for all jobs of equal resources, state from squeue."""

import contextlib
import re
import signal
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path

from ablate.errors import FailureError, UsageError, nearest
from ablate.files import write_text
from ablate.records.lease import Lease
from ablate.scheduling.batch import Batch
from ablate.scheduling.job import Job, Resources
from ablate.scheduling.launcher import Handle, JobState, Phase, exit_text
from ablate.scheduling.launchers.slurm.options import SlurmOptions
from ablate.scheduling.launchers.slurm.queue import QUEUE, NoAnswerError, call, is_installed
from ablate.scheduling.launchers.slurm.script import array_script, ranges

# Slurm's default for the largest array, which counts from 0.
ARRAY_SIZE = 1001
# `status` and the scheduler ask about each trial of other commands by itself.
ELSEWHERE_SECONDS = 2.0
# Signals that ask a rank to save, before it could.
STOPS = (-signal.SIGTERM, -signal.SIGUSR1)
NOT_HERE = (
    "launcher=slurm: there is no sbatch on this machine. Run the command on a login node of the cluster, or type "
    "launcher=local."
)
# What sbatch says → what to do.
REMEDIES = {
    r"time limit|--time": "Type another launcher.time=…",
    r"limit|quota": "Type launcher.max_submitted=N to have at most N jobs with Slurm at once.",
    r"partition": "Type another launcher.partition=…",
    r"account": "Type another launcher.account=…",
    r"\bqos\b": "Type another launcher.qos=…",
    r"gres|feature|node configuration|cpu count|memory": (
        "No node has what the trials ask for. Change hardware.devices, hardware.nodes, launcher.gres, "
        "launcher.constraint or launcher.mem."
    ),
}


@dataclass
class _OpenBatch:
    """A batch that jobs are added to until it is submitted."""

    batch: Batch
    lease: Lease
    jobs: dict[int, tuple[str, Job]] = field(default_factory=dict)
    size: int = 0


class SlurmLauncher:
    """Submits job arrays. Jobs go on without the command, and Slurm starts them again after a preemption.

    The id of a job is `BATCH.NUMBER on CLUSTER`: its place in the ledger, known before Slurm numbers it.
    """

    name = "slurm"
    takes_batches = True
    outlives_command = True
    options_class = SlurmOptions

    def __init__(self, options: SlurmOptions) -> None:
        options.check()
        self.parallel = options.max_submitted
        self._options = options
        self._open: dict[tuple[Path, Resources], _OpenBatch] = {}
        self._reserved: dict[Job, tuple[_OpenBatch, int, Handle]] = {}
        self._places: dict[Handle, tuple[Batch, int]] = {}
        self._states: dict[Handle, JobState] = {}
        self._cancelled: set[Handle] = set()

    def check(self) -> None:
        """See `Launcher`."""
        if not is_installed():
            raise UsageError(NOT_HERE)
        partitions = call(["sinfo", "-h", "-o", "%R"]).split()
        partition = self._options.partition
        if partition is not None and (unknown := sorted(set(partition.split(",")) - set(partitions))):
            raise UsageError(f"launcher.partition={partition}: no such partition. {nearest(unknown[0], partitions)}")

    def preview(self, jobs: Sequence[Job]) -> str:
        """Return the scripts that the jobs would be submitted with."""
        numbers: dict[tuple[Path, Resources], int] = defaultdict(int)
        for job in jobs:
            numbers[job.runs_dir, job.resources] += 1
        return "\n".join(
            array_script(self._options, resources, Batch.named("BATCH", runs_dir), range(min(count, ARRAY_SIZE)))
            for (runs_dir, resources), count in numbers.items()
        )

    @cached_property
    def _limits(self) -> tuple[str, int]:
        """The cluster's name and the largest size of an array."""
        return cluster_name(), int(_configuration().get("MaxArraySize", ARRAY_SIZE))

    def handle_for(self, job: Job) -> Handle:
        """See `Launcher`."""
        if job not in self._reserved:
            cluster, most = self._limits
            key = job.runs_dir, job.resources
            if key not in self._open or self._open[key].size >= most:
                batch = Batch.new(job.runs_dir)
                lease = batch.lease
                lease.__enter__()
                self._open[key] = _OpenBatch(batch, lease)
            place = self._open[key]
            handle = Handle(self.name, f"{place.batch.name}.{place.size} on {cluster}")
            self._reserved[job] = place, place.size, handle
            place.size += 1
        return self._reserved[job][2]

    def submit(self, jobs: Sequence[Job]) -> list[Handle]:
        """See `Launcher`."""
        handles = []
        places: dict[int, _OpenBatch] = {}
        for job in jobs:
            self.handle_for(job)
            place, number, handle = self._reserved.pop(job)
            place.jobs[number] = handle.job_id, job
            places[id(place)] = place
            self._places[handle] = place.batch, number
            handles.append(handle)
        self._open = {key: place for key, place in self._open.items() if id(place) not in places}
        submitted: list[str] = []
        try:
            for place in places.values():
                submitted.append(self._submit(place, submitted))
        except BaseException:
            # All or none: the caller takes none of them for submitted.
            if submitted:
                call(["scancel", *submitted])
            raise
        finally:
            for place in places.values():
                place.lease.__exit__(None, None, None)
        QUEUE.forget()
        return handles

    def _submit(self, place: _OpenBatch, earlier: Sequence[str]) -> str:
        """Submit one array and return its number."""
        batch = place.batch
        batch.write_jobs(self.name, place.jobs)
        [resources] = {job.resources for _, job in place.jobs.values()}
        write_text(batch.script_path, array_script(self._options, resources, batch, list(place.jobs)))
        # Several arrays run one after the other, or together they would exceed the limit.
        after = [f"--dependency=afterany:{earlier[-1]}"] if earlier and self._options.max_running else []
        try:
            number = call(["sbatch", "--parsable", *after, str(batch.script_path)]).strip().partition(";")[0]
        except FileNotFoundError:
            raise UsageError(NOT_HERE) from None
        except NoAnswerError as error:
            raise FailureError(f"{error} Nothing was submitted; the same command submits it.") from None
        except FailureError as error:
            remedy = next((text for part, text in REMEDIES.items() if re.search(part, str(error), re.IGNORECASE)), "")
            raise FailureError(
                f"Slurm rejected {len(place.jobs)} jobs: {error}. {remedy} Nothing was submitted. "
                f"The script: {batch.script_path}"
            ) from None
        batch.mark_submitted(number)
        return number

    def poll(self, handles: Iterable[Handle], wait_seconds: float = 0.0) -> dict[Handle, JobState]:
        """See `Launcher`. A job of which Slurm says nothing more has ended as its script has written."""
        time.sleep(wait_seconds)
        for handle in (handles := list(handles)):
            earlier = self._states.get(handle, JobState(Phase.PENDING))
            if earlier.is_over:
                continue
            batch, number = self._places[handle]
            try:
                state = QUEUE.states(batch.name, self._options.poll_seconds).get(number)
            except NoAnswerError as error:
                self._states[handle] = JobState(earlier.phase, detail=str(error))
                continue
            self._states[handle] = _ended(batch, number, state) if state is None or state.is_over else state
        return {handle: self._states[handle] for handle in handles}

    def cancel(self, handles: Iterable[Handle]) -> None:
        """See `Launcher`."""
        handles = list(handles)
        again = self._cancelled.intersection(handles)
        self._cancelled |= set(handles)
        for chosen, at_once in ((again, True), (set(handles) - again, False)):
            if places := [self._places[handle] for handle in chosen]:
                _cancel(places, at_once=at_once)

    @staticmethod
    def state_elsewhere(job_id: str, runs_dir: Path) -> JobState:
        """See `Launcher`."""
        batch, number, cluster = parsed(job_id, runs_dir)
        if not is_installed():
            return JobState(Phase.UNKNOWN, detail="this machine has no Slurm")
        try:
            if cluster != cluster_name():
                return JobState(Phase.UNKNOWN, detail=f"on the cluster {cluster}")
            state = QUEUE.states(batch.name, ELSEWHERE_SECONDS).get(number)
        except NoAnswerError as error:
            return JobState(Phase.PENDING, detail=str(error))
        if state is None and batch.is_being_submitted:
            return JobState(Phase.PENDING, detail="being submitted")
        return _ended(batch, number, state) if state is None or state.is_over else state

    @staticmethod
    def cancel_elsewhere(job_ids: Sequence[str], runs_dir: Path, *, at_once: bool) -> None:
        """See `Launcher`."""
        if not is_installed():
            raise UsageError(NOT_HERE)
        places = [parsed(job_id, runs_dir)[:2] for job_id in job_ids]
        _cancel(places, at_once=at_once)


def parsed(job_id: str, runs_dir: Path) -> tuple[Batch, int, str]:
    """Return the batch, the number and the cluster of a job."""
    place, _, cluster = job_id.partition(" on ")
    name, _, number = place.partition(".")
    return Batch.named(name, runs_dir), int(number), cluster


def _ended(batch: Batch, number: int, state: JobState | None) -> JobState:
    """Return how a job ended that runs no more.

    Args:
        state: of squeue; None where Slurm has forgotten the job, minutes after its end.
    """
    code = batch.exit_code(number)
    if state is None:
        if code is not None and not batch.is_cancelled(number):
            return JobState(Phase.PREEMPTED if code in STOPS else Phase.ENDED, code, _log(batch, number, code))
        # It ran, and neither ended by itself nor is queued: its time ran out, or its node is gone.
        is_lost = batch.has_begun(number) and not batch.is_cancelled(number)
        return JobState(Phase.PREEMPTED if is_lost else Phase.CANCELLED, detail="Slurm has no such job")
    if batch.is_cancelled(number):
        return replace(state, phase=Phase.CANCELLED, detail="cancelled")
    if state.phase == Phase.ENDED and code is not None:
        phase = Phase.PREEMPTED if code in STOPS else state.phase
        return replace(state, phase=phase, code=code, detail=_log(batch, number, code))
    if state.phase == Phase.ENDED and state.code and not batch.has_begun(number):
        problem = f"{state.detail}; its node did not write {batch.folder}"
        return replace(state, detail=f"{problem}. Put runs_dir on a file system that all nodes share")
    return state


def _log(batch: Batch, number: int, code: int) -> str:
    return f"{exit_text(code)}; log: {batch.log_path(number)}" if code else ""


def _cancel(places: Sequence[tuple[Batch, int]], *, at_once: bool) -> None:
    """Remove pending jobs, and ask running ones to save; or end all of them at once."""
    running: dict[str, list[int]] = defaultdict(list)
    waiting: dict[str, list[int]] = defaultdict(list)
    QUEUE.forget()
    for batch, number in places:
        # Before the signal: the script looks for it.
        batch.mark_cancelled(number)
        state = QUEUE.states(batch.name, ELSEWHERE_SECONDS).get(number)
        if state is not None and not state.is_over:
            array, _, element = state.number.partition("_")
            (running if state.phase == Phase.RUNNING else waiting)[array].append(int(element))
    for words, of in ((["scancel"], waiting), (["scancel"] if at_once else ["scancel", "--signal=USR1"], running)):
        if jobs := [f"{array}_[{ranges(numbers)}]" for array, numbers in of.items()]:
            # One that has ended meanwhile is no error.
            with contextlib.suppress(FailureError):
                call([*words, *jobs])
    QUEUE.forget()


def _configuration() -> dict[str, str]:
    """Return Slurm's configuration. Raises NoAnswerError."""
    lines = (line.partition("=") for line in call(["scontrol", "show", "config"]).splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


@cache
def cluster_name() -> str:
    """Return the name of the cluster that this machine belongs to. Raises NoAnswerError."""
    return _configuration().get("ClusterName", "cluster")
