"""What a launcher runs: one trial, as plain data."""

from dataclasses import dataclass
from pathlib import Path

from ablate.records.tuning import CandidateRef


@dataclass(frozen=True)
class Resources:
    """What a job asks of a cluster's scheduler. The local launcher ignores it.

    Attributes:
        devices: accelerators per node, or processes per node on CPUs.
        cpus: processor cores per node.
        memory_gb: main memory per node; None for the cluster's default.
        time_limit_minutes: None for the cluster's default.
    """

    devices: int = 1
    nodes: int = 1
    cpus: int = 1
    memory_gb: float | None = None
    time_limit_minutes: int | None = None


@dataclass(frozen=True)
class Job:
    """One trial to run. Its configuration is frozen in the ledger; a job only names it.

    Attributes:
        runs_dir: the ledger's folder, an absolute path.
        candidate: set when a tuning study asked for the trial. The job then reports to that study and scores the
            validation split alone.
    """

    trial_id: str
    runs_dir: Path
    resources: Resources = Resources()
    candidate: CandidateRef | None = None
