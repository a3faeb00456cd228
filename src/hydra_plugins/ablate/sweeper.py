"""Hydra's door to a grid."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class AblateSweeper(Sweeper):
    """Delegates to `ablate.grid`.

    Args:
        verb: what is done with the grid: a module of `ablate.verbs` that has an `of_grid`.
        is_grid: whether the command may list several values; without it there is one trial.
        command: what the user typed.
        names: what the verb was given besides overrides.
        params: swept keys and their values, of an experiment; the command line's own come first.
        exclude: patterns of arms that the grid leaves out.
        zip: lists of keys that vary together.
    """

    def __init__(
        self,
        verb: str,
        is_grid: bool,
        command: str,
        names: Sequence[str],
        params: Mapping[str, Any],
        exclude: Sequence[Any],
        zip: Sequence[Sequence[str]],
    ) -> None:
        self.verb = verb
        self.is_grid = is_grid
        self.command = command
        self.names = list(names)
        self.params = dict(params)
        self.exclude: Any = OmegaConf.to_container(exclude) if OmegaConf.is_config(exclude) else exclude
        self.zip = [list(keys) for keys in zip]
        self.hydra_context: HydraContext
        self.config: DictConfig
        self.launcher: Launcher

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """What Hydra hands to every sweeper."""
        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Expands, checks and runs the grid. Raises SystemExit(1) when a trial failed."""
        from ablate.grid.expand import expand, with_params
        from ablate.grid.plan import Plan
        from ablate.grid.run import make_console

        console = make_console()
        # What these print is for programs.
        say = make_console(stderr=not {"--json", "--markdown"}.isdisjoint(self.names)).print
        expanded = expand(
            self.hydra_context.config_loader,
            self.config,
            with_params(arguments, self.params),
            # An experiment that sweeps is a grid by itself.
            is_grid=self.is_grid or bool(self.params),
            exclude=self.exclude,
            zips=self.zip,
            say=say,
        )
        # Only this command says that a text is to be taken as it is now.
        reads_anew = self.verb == "data" and self.names[:1] == ["prepare"]
        plan = Plan.of(expanded, self.command, say, reads_anew=reads_anew)
        verb = import_module(f"ablate.verbs.{self.verb}")
        code = verb.of_grid(plan, self.names, lambda jobs: self.launcher.launch(jobs, initial_job_idx=0), console)
        if code:
            raise SystemExit(code)
