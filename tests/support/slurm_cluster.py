"""A real Slurm of one node on loopback: munged, slurmctld and slurmd, started here and ended by their process ids."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COMMANDS = ("sbatch", "squeue", "scontrol", "munged", "slurmctld", "slurmd")
# Without systemd, cgroups and accounting. A requeued job waits for cred_expire, two minutes by default.
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=20
MinJobAge=300
MaxArraySize=10001
MaxJobCount=20000
SchedulerParameters=sched_interval=2,sched_min_interval=10000,batch_sched_delay=1,bf_interval=2,default_queue_depth=200
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={host} NodeAddr=127.0.0.1 CPUs=4
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE MaxTime=INFINITE State=UP
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Return why no Slurm can be started here; "" if it can."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    if missing := [name for name in COMMANDS if shutil.which(name, path=path) is None]:
        return f"Slurm is not installed ({', '.join(missing)}): apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "slurmd needs root"


@dataclass
class Cluster:
    """A running Slurm with the partitions `low` and `high`, whose jobs preempt those of `low`."""

    folder: Path
    host: str

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which Slurm's commands find it."""
        return os.environ | {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def call(self, *words: str) -> str:
        """Run one of Slurm's commands and return what it prints."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def jobs(self) -> dict[str, str]:
        """The state of each job that is not over, by its number."""
        lines = self.call("squeue", "-h", "-r", "-o", "%F_%K %T").split()
        return dict(zip(lines[::2], lines[1::2], strict=True))

    def resume_node(self) -> None:
        """Bring the node back; it may come by itself."""
        words = ["scontrol", "update", f"NodeName={self.host}", "State=RESUME"]
        subprocess.run(words, env=self.environment, capture_output=True, timeout=60, check=False)
        _wait(self.is_up, self.folder)

    def is_up(self) -> bool:
        """Whether the node takes jobs."""
        words = ["sinfo", "-h", "-o", "%T"]
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        return set(done.stdout.split()) & {"idle", "mixed", "allocated"} != set()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports: list[int] = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Start a cluster and end it after the block, with all of its jobs."""
    # A socket's path is short, and a user of its own has no rights here.
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    folder.chmod(0o755)
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir()
    host = socket.gethostname().partition(".")[0]
    controller_port, node_port = _free_ports(2)
    conf = CONF.format(host=host, folder=folder, controller_port=controller_port, node_port=node_port)
    (folder / "slurm.conf").write_text(conf)
    (folder / "munge" / "key").write_bytes(secrets.token_bytes(1024))
    (folder / "munge" / "key").chmod(0o600)
    cluster = Cluster(folder, host)
    munge = [f"--{name}={folder}/munge/{name}" for name in ("socket", "pid-file", "log-file", "seed-file")]
    commands = [
        ["munged", "--foreground", "--force", f"--key-file={folder}/munge/key", *munge],
        ["slurmctld", "-D", "-f", f"{folder}/slurm.conf"],
        ["slurmd", "-D", "-f", f"{folder}/slurm.conf", "-N", host],
    ]
    environment = cluster.environment | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        with (folder / "daemons.log").open("wb") as log:
            for words in commands:
                daemons.append(subprocess.Popen(words, env=environment, stdout=log, stderr=log, start_new_session=True))
                _wait(lambda: (folder / "munge" / "socket").exists(), folder)
        _wait(cluster.is_up, folder)
        try:
            yield cluster
        finally:
            # A node that is down would keep the processes of its jobs.
            cluster.resume_node()
            cluster.call("scancel", "--user=root")
            _wait(lambda: not cluster.jobs(), folder)
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in reversed(daemons):
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(condition: object, folder: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    assert callable(condition)
    while not condition():
        logs = "\n".join(path.read_text(errors="replace")[-2000:] for path in folder.glob("*.log"))
        assert time.monotonic() < deadline, f"Slurm did not start:\n{logs}"
        time.sleep(0.1)
