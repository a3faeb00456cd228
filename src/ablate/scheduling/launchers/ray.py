"""Jobs as tasks of Ray: a task per trial and node, which starts the ranks as processes of its own."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from ablate.errors import FailureError, UsageError
from ablate.scheduling.batch import Batch
from ablate.scheduling.job import Job, Resources
from ablate.scheduling.launcher import Handle, JobState, Phase
from ablate.scheduling.launchers.command import CommandLauncher

PORT = 6379
ANSWER_SECONDS = 5.0
LOOK_SECONDS = 0.2


class RayLauncher(CommandLauncher):
    """Submits tasks to a Ray cluster, or to a Ray on this machine that ends with the command.

    Ray never repeats a task: the scheduler decides what is tried again.

    Args:
        address: of a cluster, as HOST:PORT; null starts Ray on this machine.
        local_cpus: how many CPUs the Ray of this machine has; null: its cores.
        cpus_per_rank: null: hardware.threads_per_trial + hardware.loader_workers.
        max_running: how many trials are with Ray at once; null: all, which wait for resources there.
    """

    name = "ray"
    takes_batches = True

    def __init__(
        self, *, address: str | None, local_cpus: int | None, cpus_per_rank: int | None, max_running: int | None
    ) -> None:
        for key, value in (("local_cpus", local_cpus), ("cpus_per_rank", cpus_per_rank), ("max_running", max_running)):
            if value is not None and value <= 0:
                raise UsageError(f"launcher.{key}={value}: should be greater than 0, or null.")
        self.parallel = max_running
        self._address = address
        self._local_cpus = local_cpus
        self._cpus_per_rank = cpus_per_rank
        super().__init__()
        self._tasks: dict[Handle, list[Any]] = {}
        self._groups: dict[Handle, Any] = {}
        self._states: dict[Handle, JobState] = {}
        self._cancelled: set[Handle] = set()

    def check(self) -> None:
        """See `Launcher`. Asks an address for an answer, because Ray itself waits for minutes."""
        if importlib.util.find_spec("ray") is None:
            raise UsageError(
                "launcher=ray: Ray is not installed. Type pip install -e '.[ray]' in a checkout, or launcher=local."
            )
        if self._address is None:
            return
        host, _, port = self._address.removeprefix("ray://").partition(":")
        if not host or not (port or str(PORT)).isdecimal():
            raise UsageError(f"launcher.address={self._address}: should be HOST:PORT, as head:{PORT}, or null.")
        try:
            socket.create_connection((host, int(port or PORT)), ANSWER_SECONDS).close()
        except OSError as error:
            raise UsageError(
                f"launcher.address={self._address}: no Ray answers there ({error}). Start one with ray start --head, "
                "type another address, or launcher.address=null for a Ray on this machine."
            ) from None

    def submit(self, jobs: Sequence[Job]) -> list[Handle]:
        """See `Launcher`."""
        self._connect()
        handles = [self._handles.take(job) for job in jobs]
        for runs_dir in {job.runs_dir for job in jobs}:
            batch = Batch.new(runs_dir)
            batch.folder.mkdir(parents=True)
            here = [(handle, job) for handle, job in zip(handles, jobs, strict=True) if job.runs_dir == runs_dir]
            batch.write_jobs(self.name, {number: (handle.job_id, job) for number, (handle, job) in enumerate(here)})
            for number, (handle, job) in enumerate(here):
                self._start(handle, batch, number, job.resources)
        return handles

    def _connect(self) -> None:
        import ray

        if ray.is_initialized():
            return
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self._address is None:
            # Without the address, Ray listens on every interface.
            options |= {"num_cpus": self._local_cpus, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        else:
            options["address"] = self._address
        try:
            ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise FailureError(f"launcher=ray: Ray cannot be reached or started: {error}") from error

    def _start(self, handle: Handle, batch: Batch, number: int, resources: Resources) -> None:
        """Start the task of a trial on one node, or a task per node in a placement group."""
        import ray
        from ray.util.placement_group import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        cpus = resources.devices * (self._cpus_per_rank or resources.cpus)
        gpus = resources.devices if resources.has_gpus else 0
        options: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": 0}
        folder = str(batch.folder)
        if resources.nodes == 1:
            self._tasks[handle] = [ray.remote(run_alone).options(**options).remote(folder, number)]
            return
        bundle = {"CPU": float(cpus), **({"GPU": float(gpus)} if gpus else {})}
        group = placement_group([bundle] * resources.nodes, strategy="STRICT_SPREAD")
        self._groups[handle] = group
        # A task of its own: the first node is known when all of them are reserved.
        place = [
            PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=node)
            for node in range(resources.nodes)
        ]
        meeting = ray.remote(meeting_place).options(num_cpus=0, scheduling_strategy=place[0]).remote()
        self._tasks[handle] = [
            ray.remote(run_node)
            .options(**options, scheduling_strategy=place[node])
            .remote(folder, number, node, resources.nodes, resources.devices, meeting)
            for node in range(resources.nodes)
        ]

    def poll(self, handles: Iterable[Handle], wait_seconds: float = 0.0) -> dict[Handle, JobState]:
        """See `Launcher`."""
        import ray

        handles = list(handles)
        open_handles = [handle for handle in handles if handle not in self._states]
        tasks = [task for handle in open_handles for task in self._tasks[handle]]
        if tasks:
            ray.wait(tasks, timeout=wait_seconds)
        else:
            time.sleep(wait_seconds)
        for handle in open_handles:
            tasks = self._tasks[handle]
            ready, waiting = ray.wait(tasks, num_returns=len(tasks), timeout=0)
            results = [_result(task) for task in ready]
            if not waiting:
                self._states[handle] = max(results, key=_severity)
                self._release(handle)
            elif any(state.phase != Phase.ENDED or state.code for state in results):
                # The ranks of other nodes end with theirs.
                for task in waiting:
                    ray.cancel(task, force=False)
        return {handle: self._states.get(handle, JobState(Phase.RUNNING)) for handle in handles}

    def _release(self, handle: Handle) -> None:
        from ray.util.placement_group import remove_placement_group

        if (group := self._groups.pop(handle, None)) is not None:
            remove_placement_group(group)

    def cancel(self, handles: Iterable[Handle]) -> None:
        """See `Launcher`. The task turns this into SIGTERM for its ranks, which save."""
        import ray

        for handle in handles:
            is_again = handle in self._cancelled
            self._cancelled.add(handle)
            for task in self._tasks.get(handle, []):
                ray.cancel(task, force=is_again)


def _severity(state: JobState) -> tuple[bool, int]:
    return state.phase != Phase.ENDED, abs(state.code)


def _result(task: Any) -> JobState:
    """Return how a task that is over ended."""
    import ray
    from ray.exceptions import RayError, TaskCancelledError

    try:
        code: int = ray.get(task)
        return JobState(Phase.ENDED, code)
    except TaskCancelledError:
        # Before it began.
        return JobState(Phase.CANCELLED, detail="cancelled")
    except RayError as error:
        # Its worker or node died; a task of ours raises nothing.
        return JobState(Phase.PREEMPTED, detail=str(error).strip().splitlines()[0])


# What runs in Ray's workers.


def meeting_place() -> tuple[str, int]:
    """Return this node's address and a free port of it."""
    from ray import util

    host: str = util.get_node_ip_address()  # type: ignore[no-untyped-call]
    with socket.socket() as free:
        free.bind(("", 0))
        return host, free.getsockname()[1]


def run_alone(batch: str, number: int) -> int:
    """Run a trial of one node; its supervisor starts a rank per device. Return the exit code."""
    return _run(batch, number, [{}])


def run_node(batch: str, number: int, node: int, nodes: int, devices: int, meeting: tuple[str, int]) -> int:
    """Run the ranks of one node of a trial, as torchrun would, and return the worst exit code."""
    host, port = meeting
    environments = [
        {
            "RANK": str(node * devices + local),
            "WORLD_SIZE": str(nodes * devices),
            "LOCAL_RANK": str(local),
            "LOCAL_WORLD_SIZE": str(devices),
            "MASTER_ADDR": host,
            "MASTER_PORT": str(port),
        }
        for local in range(devices)
    ]
    return _run(batch, number, environments)


def rank_words(batch: str, number: int) -> list[str]:
    """Return the command of a rank, which saves and ends when its worker is killed."""
    return [sys.executable, "-m", "ablate.rank", "--batch", batch, "--number", str(number), "--ends-with-parent"]


def _run(batch: str, number: int, environments: Sequence[dict[str, str]]) -> int:
    """Run the ranks until all have ended. Ray cancels a task by KeyboardInterrupt: then they are asked to save."""
    words = rank_words(batch, number)
    ranks = [
        subprocess.Popen(words, env={**os.environ, **environment}, start_new_session=True)
        for environment in environments
    ]
    while any(rank.poll() is None for rank in ranks):
        try:
            time.sleep(LOOK_SECONDS)
        except KeyboardInterrupt:
            for rank in ranks:
                with suppress(ProcessLookupError):
                    rank.send_signal(signal.SIGTERM)
    return max((rank.returncode for rank in ranks), key=abs)
