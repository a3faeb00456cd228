"""Detection of diverged runs: a number that is not finite, or a loss that rises and stays up."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ablate.config.training import DivergenceConfig


class DivergedError(Exception):
    """The loss, the gradient or a score is not finite, or the loss rose and stays up.

    Attributes:
        evidence: losses and gradient norms of the last steps, the newest last; text where they are not finite, which
            JSON has no numbers for.
    """

    def __init__(self, message: str, recent: Sequence[tuple[float, float]] = ()) -> None:
        super().__init__(message)
        steps = [[value if math.isfinite(value) else str(value) for value in step] for step in recent]
        self.evidence = {"last_losses": [loss for loss, _ in steps], "last_gradient_norms": [norm for _, norm in steps]}


@dataclass
class DivergenceDetector:
    """Checks each step before its update is applied.

    The loss *rose* when its mean over the last `window_steps` steps lies `rise_nats` above the lowest such mean of
    the run. Single steps of hard rows pass; a run whose loss stays up ends.

    Attributes:
        config: the window and the rise.
        recent: loss (nats per loss token) and gradient norm of the last steps, the newest last; at a divergence, the
            evidence.
        lowest: the lowest mean of a window so far.
    """

    config: DivergenceConfig
    recent: list[tuple[float, float]] = field(default_factory=list)
    lowest: float = math.inf

    def see(self, step: int, loss: float, gradient_norm: float) -> None:
        """Check one step's numbers.

        Raises:
            DivergedError: neither this step nor a later one may be applied.
        """
        self.recent = [*self.recent, (loss, gradient_norm)][-self.config.window_steps :]
        for name, value in (("loss", loss), ("gradient norm", gradient_norm)):
            if not math.isfinite(value):
                raise DivergedError(f"the {name} is {value} at step {step}", self.recent)
        if len(self.recent) < self.config.window_steps:
            return
        mean = sum(loss for loss, _ in self.recent) / len(self.recent)
        self.lowest = min(self.lowest, mean)
        if mean > self.lowest + self.config.rise_nats:
            raise DivergedError(
                f"the loss rose: over the last {len(self.recent)} steps its mean is {mean:.3f} nats, it was "
                f"{self.lowest:.3f} (step {step}; divergence.rise_nats={self.config.rise_nats:g})",
                self.recent,
            )

    def state(self) -> dict[str, Any]:
        """Return what the next step depends on."""
        return {"recent": self.recent, "lowest": self.lowest}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        self.recent = [(loss, gradient_norm) for loss, gradient_norm in state["recent"]]
        self.lowest = state["lowest"]
