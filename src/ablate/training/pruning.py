"""Trials that are stopped before their budget is spent, because their study has better ones."""


class PrunedError(Exception):
    """The study's pruner stopped the trial; it stopped where it can resume.

    Args:
        progress: spent fraction of the budget.
    """

    def __init__(self, progress: float) -> None:
        super().__init__(f"pruned at {progress:.0%} of its budget: its study has better ones")
