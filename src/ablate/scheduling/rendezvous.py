"""How the ranks that torchrun or srun has started find rank 0's supervisor, and what it checks of them.

Rank 0 listens on a port of its own and publishes it in a `TCPStore` at MASTER_ADDR:MASTER_PORT, the agent's where
torchrun has one. Each other rank connects, says what code and configuration it has, and waits for its assignment.
"""

import hashlib
import json
import os
import queue
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from importlib.metadata import version
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

from ablate.errors import FailureError, UsageError
from ablate.files import file_sha256
from ablate.ranks import Rank
from ablate.records.ledger import TrialFolder
from ablate.scheduling.workers import Worker, Workers, start_worker
from ablate.training.messages import Assignment

KEY = "ablate/supervisor"
# How long ranks wait for each other before training: a command says within a minute what is missing.
MEET_SECONDS = 45.0
PACKAGES = ("torch", "lightning", "numpy")


@dataclass(frozen=True)
class Place:
    """Where the ranks of a launch meet.

    Attributes:
        host: rank 0's host.
        has_store: whether torchrun's agent serves a store there already.
        attempt: tells torchrun's restarts apart.
    """

    host: str
    port: int
    has_store: bool = False
    attempt: str = "0"


@dataclass(frozen=True)
class Hello:
    """What a rank tells rank 0.

    Attributes:
        host: where it runs.
        code: digest of the code that it runs.
        config: SHA-256 of the trial's frozen configuration; None where it sees none.
    """

    number: int
    host: str
    code: str
    config: str | None


def rank_of(environment: Mapping[str, str]) -> Rank:
    """Return the rank that torchrun or srun gave this process; without either, a rank that is alone."""
    if "RANK" in environment and "WORLD_SIZE" in environment:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        return Rank(*(int(environment[name]) for name in names))
    # sbatch sets SLURM_NTASKS without starting that many processes; srun alone sets these.
    if "SLURM_STEP_NUM_TASKS" in environment:
        count, nodes = int(environment["SLURM_STEP_NUM_TASKS"]), int(environment["SLURM_STEP_NUM_NODES"])
        if count % nodes:
            raise UsageError(
                f"srun started {count} tasks on {nodes} nodes: each node needs equally many. "
                f"Type srun --nodes={nodes} --ntasks-per-node={-(-count // nodes)}"
            )
        return Rank(int(environment["SLURM_PROCID"]), count, int(environment["SLURM_LOCALID"]), count // nodes)
    return Rank()


def place_of(environment: Mapping[str, str]) -> Place:
    """Return where the ranks meet: at MASTER_ADDR:MASTER_PORT or, under srun, a port derived from job and step."""
    has_store = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    attempt = environment.get("TORCHELASTIC_RESTART_COUNT", environment.get("SLURM_RESTART_COUNT", "0"))
    host, port = environment.get("MASTER_ADDR"), environment.get("MASTER_PORT")
    if host is None and "SLURM_STEP_NODELIST" in environment:
        from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

        host = SLURMEnvironment.resolve_root_node_address(environment["SLURM_STEP_NODELIST"])
    if port is None and "SLURM_JOB_ID" in environment:
        # Two steps of one job must not collide.
        step = int(environment.get("SLURM_STEP_ID", "0"))
        port = str(20_000 + (31 * int(environment["SLURM_JOB_ID"]) + step) % 20_000)
    if host is None or port is None:
        raise UsageError(
            "MASTER_ADDR and MASTER_PORT are not set. Start the ranks with torchrun or srun, or set both to a host and "
            "a free port of rank 0."
        )
    return Place(host, int(port), has_store, attempt)


def hello(rank: Rank, folder: TrialFolder) -> Hello:
    """Return what this rank has."""
    digest = hashlib.sha256(repr([version(package) for package in PACKAGES]).encode())
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    config = file_sha256(folder.config_path) if folder.config_path.exists() else None
    return Hello(rank.number, socket.gethostname(), digest.hexdigest()[:12], config)


@dataclass
class RemoteWorkers:
    """Starts rank 0's worker on this host and hands their assignments to the ranks that are waiting.

    Attributes:
        own: what rank 0 has, which the others must have too.
        joined: the ranks that have connected.
    """

    rank: Rank
    place: Place
    own: Hello
    arrivals: "queue.Queue[tuple[Hello, Connection[Any, Any]]]" = field(default_factory=queue.Queue)
    joined: dict[int, tuple[Hello, "Connection[Any, Any]"]] = field(default_factory=dict)

    def start(self, assignment: Assignment) -> Workers:
        """Return the workers of all ranks, once all are there.

        Raises:
            UsageError: the trial has another number of ranks.
            FailureError: a rank is missing, or has other code, another configuration or no ledger.
        """
        hardware = assignment.trial.hardware
        if (self.rank.local_count, self.rank.nodes) != (hardware.devices, hardware.nodes):
            raise UsageError(
                f"hardware.devices={hardware.devices} hardware.nodes={hardware.nodes}: {self.rank.nodes} nodes with "
                f"{self.rank.local_count} ranks each were started. Start {hardware.devices} on each of "
                f"{hardware.nodes}, or run the grid's command again with hardware.devices={self.rank.local_count} "
                f"hardware.nodes={self.rank.nodes}."
            )
        self._wait()
        workers = [start_worker(assignment, self.rank)]
        for number, (greeting, connection) in sorted(self.joined.items()):
            connection.send(replace(assignment, rank=self._rank(number)))
            workers.append(Worker(self._rank(number), connection, None, f" on {greeting.host}"))
        return Workers(workers, host=self.place.host)

    def dismiss(self, code: int) -> None:
        """Let the ranks that got no assignment exit with this code."""
        with suppress(queue.Empty):
            while True:
                greeting, connection = self.arrivals.get_nowait()
                self.joined[greeting.number] = greeting, connection
        for _, connection in self.joined.values():
            with suppress(OSError):
                connection.send(code)
            connection.close()

    def _rank(self, number: int) -> Rank:
        count = self.rank.local_count
        return Rank(number, self.rank.count, number % count, count)

    def _wait(self) -> None:
        """Wait until all ranks have connected, and check what they have."""
        deadline = time.monotonic() + MEET_SECONDS
        while len(self.joined) < self.rank.count - 1:
            try:
                greeting, connection = self.arrivals.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                missing = sorted(set(range(1, self.rank.count)) - set(self.joined))
                raise FailureError(
                    f"rank {', '.join(map(str, missing))} of {self.rank.count} did not connect to "
                    f"{self.place.host}:{self.place.port} within {MEET_SECONDS:.0f} s. Check that every node runs the "
                    "same command, and that it reaches this host."
                ) from None
            self.joined[greeting.number] = greeting, connection
            self._check(greeting)

    def _check(self, other: Hello) -> None:
        where = f"rank {other.number} on {other.host}"
        if other.config is None:
            raise FailureError(
                f"{where} does not see the trial's folder. Put runs_dir on a file system that all nodes share, and "
                "give every rank the same --runs-dir."
            )
        if other.config != self.own.config:
            raise FailureError(
                f"{where} has another configuration of the trial ({other.config[:12]}) than rank 0 "
                f"({(self.own.config or 'none')[:12]}). Give every rank the same trial and --runs-dir."
            )
        if other.code != self.own.code:
            raise FailureError(
                f"{where} runs other code ({other.code}) than rank 0 on {self.own.host} ({self.own.code}). Install the "
                "same version of ablate, torch and lightning on every node."
            )


@contextmanager
def listening(rank: Rank, place: Place, own: Hello) -> Iterator[RemoteWorkers]:
    """Let the other ranks connect to this process inside the block. Raises FailureError where a port is in use."""
    secret = secrets.token_bytes(32)
    # On every interface: the other ranks come from other hosts. Only they know the secret.
    with Listener(("0.0.0.0", 0), authkey=secret) as listener:
        store = open_store(rank, place)
        port = listener.address[1]
        assert isinstance(port, int)
        store.set(_key(place), json.dumps([place.host, port, secret.hex()]))
        workers = RemoteWorkers(rank, place, own)
        threading.Thread(target=_accept, args=(listener, workers.arrivals), name="rendezvous", daemon=True).start()
        yield workers


def _accept(listener: Listener, arrivals: "queue.Queue[tuple[Hello, Connection[Any, Any]]]") -> None:
    while True:
        try:
            connection = listener.accept()
            notice_lost_host(connection)
            arrivals.put((connection.recv(), connection))
        except (AuthenticationError, EOFError, ConnectionError):
            # A stranger, or a rank that died at once.
            continue
        except OSError:
            return


def connect(rank: Rank, place: Place, own: Hello) -> "Connection[Any, Any]":
    """Connect this rank to rank 0's supervisor. Raises FailureError if it can't be reached."""
    from torch.distributed import DistError

    try:
        store = open_store(rank, place)
        host, port, secret = json.loads(store.get(_key(place)))
        connection = Client((host, port), authkey=bytes.fromhex(secret))
    except (DistError, OSError, EOFError, AuthenticationError) as error:
        raise FailureError(
            f"{rank}: rank 0 cannot be reached at {place.host}:{place.port} ({error}). Is it running there?"
        ) from None
    notice_lost_host(connection)
    connection.send(own)
    return connection


def open_store(rank: Rank, place: Place) -> Any:
    """Return the store at which ranks meet; rank 0 serves it unless torchrun does. Raises FailureError."""
    from torch._C._distributed_c10d import TCPStore
    from torch.distributed import DistError

    is_master = rank.number == 0 and not place.has_store
    try:
        return TCPStore(
            place.host,
            place.port,
            is_master=is_master,
            timeout=timedelta(seconds=MEET_SECONDS),
            wait_for_workers=False,
        )
    except (DistError, RuntimeError) as error:
        if not is_master:
            raise
        raise FailureError(
            f"MASTER_PORT={place.port}: cannot be opened on this host ({str(error).splitlines()[0]}). Is it in use? "
            "Set MASTER_PORT to a free port on every node."
        ) from None


def _key(place: Place) -> str:
    return f"{KEY}/{place.attempt}"


def notice_lost_host(connection: "Connection[Any, Any]") -> None:
    """Have the system close a connection within half a minute of losing the host at its other end."""
    with socket.socket(fileno=os.dup(connection.fileno())) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):
                peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
