"""Call Hydra with our defaults, and reword its errors."""

import os
import re
import shlex
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ablate import CONF
from ablate.config.quoting import quoted
from ablate.errors import UsageError, UserError
from ablate.grid.expand import default_container
from ablate.grid.reword import reworded
from ablate.grid.words import with_quoted_text
from ablate.scheduling.hydra_task import run

if TYPE_CHECKING:
    from ablate.scheduling.launcher import Launcher

# Flags by which Hydra prints something and runs nothing.
PRINTING = ("--cfg", "--info")
CONFIG_DIR = "--config-dir"


def run_hydra(verb: str, flags: Mapping[str, Any], overrides: Sequence[str], names: Sequence[str]) -> int:
    """Run Hydra over a command and return the exit code.

    Args:
        flags: Hydra's flags and their values; True for a switch.
        overrides: the options, as KEY=VALUE.
        names: the verb's own flags, ids and numbers.

    Raises:
        UserError: Hydra could not compose the configuration, or the verb failed.
    """
    overrides = [_with_home(word) for word in overrides]
    readable = with_quoted_text([with_launcher(word) for word in overrides])
    words = [word for name, value in flags.items() for word in ([name] if value is True else [name, value])]
    typed = ["python", "-m", "ablate", *words, *overrides]
    with _rewording(overrides):
        if not flags.keys().isdisjoint(PRINTING):
            _print([*words, *readable])
            return 0
        try:
            _multirun(
                [
                    *readable,
                    *_searchpath(flags.get(CONFIG_DIR)),
                    f"hydra.sweeper.verb={verb}",
                    f"hydra.sweeper.is_grid={str('-m' in flags).lower()}",
                    f"hydra.sweeper.command={quoted(shlex.join(typed))}",
                    f"hydra.sweeper.names=[{','.join(map(quoted, names))}]",
                ]
            )
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 0
    return 0


def composed(overrides: Sequence[str], config_dir: str | None = None) -> dict[str, Any]:
    """Compose overrides for a verb that runs no grid, as a plain container.

    Args:
        overrides: the options, as KEY=VALUE.
        config_dir: a folder with more choices.

    Raises:
        UsageError: Hydra could not compose them.
    """
    overrides = [_with_home(word) for word in overrides]
    with _rewording(overrides):
        return default_container(*with_quoted_text(overrides), *_searchpath(config_dir))


def composed_launcher(overrides: Sequence[str]) -> "Launcher":
    """Return one of our launchers by overrides of `launcher`, for a verb that runs no grid.

    Raises:
        UsageError: Hydra could not compose them, or they name a launcher of another package.
    """
    words = with_quoted_text([with_launcher(word) for word in overrides])
    GlobalHydra.instance().clear()
    with _rewording(overrides), initialize_config_dir(str(CONF), version_base="1.3"):
        node = hydra.compose("config", words, return_hydra_config=True).hydra.launcher
        parameters: Any = OmegaConf.to_container(node, resolve=True)
    name = parameters.pop("launcher", None)
    if name is None:
        raise UsageError(
            f"{' '.join(overrides)}: only grids run on it. Type launcher=local, launcher=slurm or launcher=ray"
        )
    del parameters["_target_"]
    from ablate.scheduling.launchers import make_launcher

    return make_launcher(name, parameters)


def _with_home(word: str) -> str:
    # Neither shells nor Hydra expand ~ after a dotted key.
    return re.sub(r"(?<=[=,\[])~/", lambda _: f"{Path.home()}/", word)


def _searchpath(config_dir: str | None) -> list[str]:
    return [] if config_dir is None else [f"hydra.searchpath=[{quoted(f'file://{config_dir}')}]"]


@contextmanager
def _rewording(overrides: Sequence[str]) -> Iterator[None]:
    """Raise Hydra's errors inside the block as UsageErrors in our words."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(reworded(error, overrides)) from error
    except ValueError as error:
        # Hydra also raises plain ValueErrors; one from anywhere else is a fault.
        raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        if isinstance(error, UserError) or Path(hydra.__file__).parent not in raised_in.parents:
            raise
        raise UsageError(reworded(error, overrides)) from error


def with_launcher(word: str) -> str:
    """Return an override of `launcher` under Hydra's name for it.

    >>> with_launcher("launcher=slurm"), with_launcher("launcher.partition=gpu"), with_launcher("launchers=1")
    ('hydra/launcher=slurm', 'hydra.launcher.partition=gpu', 'launchers=1')
    """
    if word.startswith("launcher="):
        return f"hydra/{word}"
    return f"hydra.{word}" if re.match(r"launcher\.\w", word) else word


def _multirun(words: list[str]) -> None:
    """Let Hydra compose and call the sweeper, without the composition by which `hydra.main` only learns its mode."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), job_name="ablate", version_base="1.3"):
        hydra_of_command = GlobalHydra.instance().hydra
        assert hydra_of_command is not None
        hydra_of_command.multirun("config", run, words, with_log_configuration=False)


def _print(arguments: list[str]) -> None:
    """Let Hydra print what its flags ask for."""
    before = sys.argv
    sys.argv = [before[0], *arguments]
    # Otherwise Hydra prints its errors and exits.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(run)()
    finally:
        sys.argv = before
