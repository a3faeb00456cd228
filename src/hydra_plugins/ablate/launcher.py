"""The Hydra plugin that selects the launcher on this machine."""

from collections.abc import Sequence

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class AblateLauncher(Launcher):
    """A placeholder that the sweeper replaces by `LocalLauncher`.

    Args:
        parallel_trials: how many trials run at once.
    """

    def __init__(self, parallel_trials: int) -> None:
        self.parallel_trials = parallel_trials

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Do nothing: a frozen trial needs nothing from Hydra."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Raise NotImplementedError: only our sweeper can use this launcher."""
        raise NotImplementedError("hydra/launcher=ablate needs hydra/sweeper=ablate")
