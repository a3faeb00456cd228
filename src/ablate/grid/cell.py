"""One trial of a grid: an arm under a seed."""

from dataclasses import dataclass

from ablate.config.trial import TrialConfig
from ablate.grid.expand import Arm, Seeds


@dataclass(frozen=True)
class Cell:
    """One trial of a grid."""

    arm: Arm
    seeds: Seeds
    trial: TrialConfig
    trial_id: str

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.arm.label}, seed {self.seeds}"

    @property
    def budget_tokens(self) -> int:
        """What it is to be trained on."""
        return self.trial.budget.train_tokens
