"""The Hydra plugin that names one of our launchers."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class AblateLauncher(Launcher):
    """A placeholder that the sweeper replaces by the launcher it names.

    Args:
        launcher: a name of `ablate.scheduling.launchers.LAUNCHERS`.
        parameters: of that launcher.
    """

    def __init__(self, launcher: str, **parameters: Any) -> None:
        self.launcher = launcher
        self.parameters = parameters

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Do nothing: a frozen trial needs nothing from Hydra."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Raise NotImplementedError: only our sweeper can use this launcher."""
        raise NotImplementedError(f"hydra/launcher={self.launcher} needs hydra/sweeper=ablate")
