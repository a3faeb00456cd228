"""The Hydra plugin that runs a verb on a grid or a tuning."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.ablate.launcher import AblateLauncher

if TYPE_CHECKING:
    from ablate.config.trial import TrialConfig
    from ablate.scheduling.launcher import Launcher


class AblateSweeper(Sweeper):
    """A sweeper that delegates to `ablate.grid` and `ablate.tuning`.

    Args:
        verb: a module of `ablate.verbs` with a function `of_grid`.
        is_grid: whether a key may have several values; otherwise there is one trial.
        command: the command line as typed.
        names: the verb's arguments that are not overrides.
        params: an experiment's overrides; the command line's take precedence.
        exclude: patterns of arms that the grid leaves out.
        zip: lists of keys that vary together.
        tuning: see `TuningConfig`.
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
        **tuning: Any,
    ) -> None:
        self.verb = verb
        self.is_grid = is_grid
        self.command = command
        self.names = list(names)
        self.params = dict(params)
        self.exclude: Any = _plain(exclude)
        self.zip = [list(keys) for keys in zip]
        self.tuning = {key: _plain(value) for key, value in tuning.items()}
        self.hydra_context: HydraContext
        self.config: DictConfig

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep Hydra's context and its launcher plugin."""
        self.hydra_context = hydra_context
        self.config = config
        self._plugin = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Expand and check the grid or tuning, and run the verb on it. Raises SystemExit if the verb fails."""
        from ablate.grid.expand import expand, has_interval, with_params
        from ablate.grid.words import with_quoted_text

        arguments = with_quoted_text(with_params(arguments, self.params))
        loader = self.hydra_context.config_loader
        if self.tuning["space"] or has_interval(loader, arguments):
            self._tune(arguments, import_module(f"ablate.verbs.{self.verb}"))
            return
        expanded = expand(
            loader,
            self.config,
            arguments,
            # An experiment with params is a grid without -m.
            is_grid=self.is_grid or bool(self.params),
            exclude=self.exclude,
            zips=self.zip,
            say=self._say,
        )
        self._check_machine([arm.composed.trial for arm in expanded.arms])
        # Most invalid options are rejected by now, before the slow imports of NumPy and Rich.
        from ablate.console import make_console
        from ablate.grid.grid import Grid
        from ablate.grid.resolve import Resolver

        verb = import_module(f"ablate.verbs.{self.verb}")
        # Only this command accepts text that has changed since it was prepared.
        reads_again = self.verb == "data" and self.names[:1] == ["prepare"]
        resolver = Resolver(expanded.runs_dir, self._say, reads_again=reads_again, reads_corpus=self._reads_corpus)
        grid = Grid.of(expanded, self.command, resolver)
        if code := verb.of_grid(grid, self.names, self._launcher, make_console()):
            raise SystemExit(code)

    def _tune(self, arguments: list[str], verb: ModuleType) -> None:
        from ablate.console import make_console
        from ablate.errors import UsageError
        from ablate.tuning.tuning import Tuning

        if not hasattr(verb, "of_tuning"):
            raise UsageError(f"{self.verb} takes no tuning. Leave sweeps= out, and give values instead of intervals.")
        tuning = Tuning.of(
            self.hydra_context.config_loader,
            self.config,
            arguments,
            self.tuning,
            self.command,
            self._say,
            exclude=self.exclude,
            zips=self.zip,
            reads_corpus=self._reads_corpus,
        )
        self._check_machine([arm.composed.trial for arm in tuning.expanded.arms])
        if code := verb.of_tuning(tuning, self.names, self._launcher, make_console()):
            raise SystemExit(code)

    @property
    def _reads_corpus(self) -> bool:
        # A plan needs the text only to know finished trials, and without a prepared corpus there are none.
        return self.verb != "plan"

    @cached_property
    def _launcher(self) -> "Launcher":
        """The launcher that our plugin names, or an adapter around any other Hydra launcher."""
        plugin = self._plugin
        if isinstance(plugin, AblateLauncher):
            from ablate.scheduling.launchers import make_launcher

            return make_launcher(plugin.launcher, {key: _plain(value) for key, value in plugin.parameters.items()})
        from ablate.scheduling.launchers.hydra import HydraLauncher

        return HydraLauncher(plugin)

    def _say(self, text: str) -> None:
        from ablate.console import make_console

        # With these options, stdout is for programs.
        make_console(stderr=not {"--json", "--markdown"}.isdisjoint(self.names)).print(text)

    def _check_machine(self, trials: Sequence["TrialConfig"]) -> None:
        """Check that this machine can run the trials, or that their jobs can be submitted from it."""
        from ablate.grid.machine import check_detach, check_machine

        if self.verb not in ("run", "retry") or "--dry-run" in self.names:
            return
        if "--detach" in self.names:
            check_detach(self._launcher)
        self._launcher.check()
        if self._launcher.name == "local":
            check_machine(trials, self._say)


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
