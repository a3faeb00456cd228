"""A trial that is given up before its budget is spent, because its study has better ones."""

from collections.abc import Mapping
from typing import Protocol


class PrunedError(RuntimeError):
    """The trial's study has no more use for it; it ended where it can go on."""


class Pruner(Protocol):
    """Whom a trial asks at each evaluation on the validation split."""

    def should_prune(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Whether it is worth no more.

        Args:
            step: how many evaluations there were, this one included.
            metrics: what this one found.
        """
