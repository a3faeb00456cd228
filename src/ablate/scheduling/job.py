"""What a launcher runs: one trial, as plain data."""

from dataclasses import dataclass
from pathlib import Path

from ablate.records.tuning import CandidateRef


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
    candidate: CandidateRef | None = None
