"""Totals of what a trial has read and computed."""

from dataclasses import asdict, dataclass

from ablate.config.trial import BudgetConfig


@dataclass(frozen=True)
class Counters:
    """Sums over all steps and ranks; see `docs/architecture.md`, Accounting.

    Attributes:
        windows: the chained digest of the windows read.
    """

    steps: int = 0
    train_tokens: int = 0
    input_tokens: int = 0
    loss_tokens: int = 0
    truncated_tokens: int = 0
    flops: float = 0.0
    windows: str = ""

    def of_budget(self, budget: BudgetConfig) -> float:
        """The counter that ends the trial."""
        return float(getattr(self, budget.matched_on))

    def as_metrics(self) -> dict[str, float | str]:
        """For the log."""
        return {f"data/{name}": value for name, value in asdict(self).items() if name != "steps"}
