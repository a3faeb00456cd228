"""Hydra's name for the launcher that runs trials on this machine."""

from collections.abc import Sequence

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class AblateLauncher(Launcher):
    """Stands for `LocalLauncher`, which the sweeper uses in its place.

    Args:
        parallel_trials: how many trials run at once.
    """

    def __init__(self, parallel_trials: int) -> None:
        self.parallel_trials = parallel_trials

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Ignore what Hydra hands to every launcher: a frozen trial needs nothing of it."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Refuse: jobs go to `LocalLauncher`."""
        raise NotImplementedError("hydra/launcher=ablate needs hydra/sweeper=ablate")
