"""Totals of what a trial has read and computed."""

from dataclasses import asdict, dataclass

from ablate.config.training import BudgetConfig
from ablate.records.trial import Counts


@dataclass(frozen=True)
class Counters(Counts):
    """The counts of a trial that is being trained, with what its budget and log make of them."""

    def of_budget(self, budget: BudgetConfig) -> float:
        """The counter that ends the trial."""
        return float(getattr(self, budget.matched_on))

    def as_metrics(self) -> dict[str, float | str]:
        """For the log."""
        return {f"data/{name}": value for name, value in asdict(self).items() if name != "steps"}
