"""What a launcher runs: one trial, as plain data."""

from dataclasses import dataclass
from pathlib import Path

from ablate.config.trial import HardwareConfig
from ablate.records.trial import Submission
from ablate.records.tuning import CandidateRef


@dataclass(frozen=True)
class Resources:
    """What a job needs of its nodes.

    Attributes:
        devices: ranks of each node; each has a device.
        cpus: of each rank.
        has_gpus: whether its devices are GPUs.
    """

    nodes: int = 1
    devices: int = 1
    cpus: int = 1
    has_gpus: bool = False

    @classmethod
    def of(cls, hardware: HardwareConfig) -> "Resources":
        """Return what a trial with this hardware needs: a core per thread and per process that loads data."""
        cpus = hardware.threads_per_trial + hardware.loader_workers
        return cls(hardware.nodes, hardware.devices, cpus, hardware.accelerator == "gpu")


@dataclass(frozen=True)
class Job:
    """One trial to run. Its configuration is frozen in the ledger; a job only names it.

    Attributes:
        runs_dir: the ledger's folder, an absolute path.
        candidate: set when a tuning study asked for the trial. The job then reports to that study and scores the
            validation split alone.
        resources: what a cluster reserves for it.
        restarts_as: set in a job that its launcher starts again when it was preempted. A trial that is stopped then
            stays submitted under it.
    """

    trial_id: str
    runs_dir: Path
    candidate: CandidateRef | None = None
    resources: Resources = Resources()
    restarts_as: Submission | None = None
