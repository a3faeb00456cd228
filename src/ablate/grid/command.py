"""Hydra, called with our defaults, and its errors in words that say what to type."""

import os
import re
import shlex
import sys
import traceback
from dataclasses import fields
from pathlib import Path

import hydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from ablate import CONF
from ablate.config.tuning import TuningConfig
from ablate.errors import UsageError, nearest
from ablate.grid import job
from ablate.grid.expand import default_container
from ablate.grid.run import quoted

# Of Hydra's own node, what is for users.
SWEEPER_KEYS = ("exclude", "zip", *(field.name for field in fields(TuningConfig)))


def run_hydra(verb: str, arguments: list[str], names: list[str], *, printing: bool) -> int:
    """Runs Hydra over the arguments.

    Args:
        verb: what is done with the grid.
        arguments: the command line without the verb.
        names: what the verb was given besides overrides.
        printing: whether a flag asks Hydra to print and run nothing.

    Raises:
        UsageError: what Hydra could not compose, reworded.
        SystemExit: when a trial failed.
    """
    # No shell puts the home folder in after a key with dots, and Hydra's grammar knows no tilde.
    arguments = [re.sub(r"(?<=[=,\[])~/", lambda _: f"{Path.home()}/", word) for word in arguments]
    is_grid = bool({"-m", "--multirun"} & set(arguments))
    command = shlex.join(["python", "-m", "ablate", *arguments])
    if not printing:
        arguments = [
            "--multirun",
            *(word for word in arguments if word not in ("-m", "--multirun")),
            f"hydra.sweeper.verb={verb}",
            f"hydra.sweeper.is_grid={str(is_grid).lower()}",
            f"hydra.sweeper.command={quoted(command)}",
            f"hydra.sweeper.names=[{','.join(map(quoted, names))}]",
        ]
    sys.argv = [sys.argv[0], *arguments]
    # Hydra prints and exits 1 on its own errors unless it is told to raise them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(job.run)()
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(reworded(error)) from error
    except ValueError as error:
        # Hydra also says so with a plain ValueError; one from anywhere else is not the user's.
        if isinstance(error, UsageError) or not _is_hydras(error):
            raise
        raise UsageError(str(error)) from error
    return 0


def _is_hydras(error: Exception) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return Path(hydra.__file__).parent in Path(frames[-1].filename).parents


def reworded(error: Exception) -> str:
    """What Hydra says, as: what was given, what is allowed, what to type instead."""
    text = str(error).strip()
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return f"{group}={choice}: no such choice. {nearest(choice, error.options or [])}"
    if found := re.match(r"Could not override '(?P<key>[^']+)'", text):
        return f"{found['key']}: unknown key. {_known_beside(found['key'])}"
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key}: has no default; give it on the command line: {error.full_key}=…"
    if found := re.search(r"Could not find match for|No match in the defaults list|Multiple values for", text):
        return text.splitlines()[0]
    return text


def _known_beside(key: str) -> str:
    """The keys that stand beside a key which is not there, in the default configuration."""
    node: object = default_container() | {"hydra": {"sweeper": dict.fromkeys(SWEEPER_KEYS)}}
    *parents, last = key.split(".")
    for parent in parents:
        node = node.get(parent) if isinstance(node, dict) else None
    if not isinstance(node, dict):
        return _known_beside(".".join(parents)) if parents else ""
    return nearest(last, map(str, node))
