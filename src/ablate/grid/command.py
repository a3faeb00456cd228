"""Call Hydra with our defaults, and reword its errors."""

import difflib
import os
import re
import shlex
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from ablate import CONF
from ablate.config.tuning import TuningConfig
from ablate.errors import UsageError, UserError, nearest
from ablate.grid.expand import default_container
from ablate.grid.words import unreadable_override, with_quoted_text
from ablate.scheduling.launchers.hydra import quoted, run

# The keys below hydra.sweeper that users set.
SWEEPER_KEYS = ("exclude", "zip", *(field.name for field in fields(TuningConfig)))


def run_hydra(verb: str, arguments: list[str], names: list[str], *, is_printing: bool) -> int:
    """Run Hydra over a command and return the exit code.

    Args:
        arguments: the command line without the verb.
        names: the verb's own flags, ids and numbers.
        is_printing: whether Hydra only prints.

    Raises:
        UserError: Hydra could not compose the configuration, or the verb failed.
    """
    # Neither shells nor Hydra expand ~ after a dotted key.
    arguments = [re.sub(r"(?<=[=,\[])~/", lambda _: f"{Path.home()}/", word) for word in arguments]
    words = with_quoted_text(arguments)
    if not is_printing:
        words = [
            "--multirun",
            *(word for word in words if word != "-m"),
            f"hydra.sweeper.verb={verb}",
            f"hydra.sweeper.is_grid={str('-m' in arguments).lower()}",
            f"hydra.sweeper.command={quoted(shlex.join(['python', '-m', 'ablate', *arguments]))}",
            f"hydra.sweeper.names=[{','.join(map(quoted, names))}]",
        ]
    before = sys.argv
    sys.argv = [before[0], *words]
    # Otherwise Hydra prints its errors and exits.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(run)()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(_reworded(error, arguments)) from error
    except ValueError as error:
        # Hydra also raises plain ValueErrors; one from anywhere else is a fault.
        raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        if isinstance(error, UserError) or Path(hydra.__file__).parent not in raised_in.parents:
            raise
        raise UsageError(str(error)) from error
    finally:
        sys.argv = before
    return 0


def _reworded(error: Exception, arguments: list[str]) -> str:
    text = str(error).strip()
    if isinstance(error, OverrideParseException):
        return unreadable_override(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return f"{group}={choice}: no such choice. {nearest(choice, error.options or [])}"
    if match := re.match(r"Could not override '(?P<key>[^']+)'", text):
        return f"{match['key']}: unknown key. {_suggestion(match['key'], arguments)}"
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key}: has no default; give it on the command line: {error.full_key}=…"
    first_line_only = r"Could not find match for|No match in the defaults list|Multiple values for"
    return text.splitlines()[0] if re.search(first_line_only, text) else text


def _suggestion(key: str, arguments: list[str]) -> str:
    """Return the likely meaning of an unknown key, and the keys of the chosen configuration with the same parent."""
    firsts = (word.partition(",")[0] for word in arguments)
    chosen = [first for first in firsts if "=" in first and (CONF / f"{first.replace('=', '/', 1)}.yaml").is_file()]
    keys = list(
        _dotted(default_container(*chosen, is_whole=False) | {"hydra": {"sweeper": dict.fromkeys(SWEEPER_KEYS)}})
    )
    if key in keys:
        several = [word for word in arguments if "," in word and (CONF / word.partition("=")[0]).is_dir()]
        return f"Not every choice of {' '.join(several)} has it. Run those that do as a grid of their own."
    parent, _, last = key.rpartition(".")
    while parent and parent not in keys:
        parent, _, last = parent.rpartition(".")
    siblings = {known.rpartition(".")[2]: known for known in keys if known.rpartition(".")[0] == parent}
    names = {known: known.rpartition(".")[2] for known in keys}
    likely = (
        [known for known, name in names.items() if name == last]
        or [siblings[name] for name in difflib.get_close_matches(last, siblings, n=1)]
        or [known for known, name in names.items() if last == "".join(part[:1] for part in name.split("_"))]
        or [known for known, name in names.items() if name in difflib.get_close_matches(last, names.values(), n=1)]
    )
    hint = f"Did you mean {' or '.join(likely[:3])}? " if likely else ""
    return f"{hint}Allowed: {', '.join(sorted(siblings))}."


def _dotted(container: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in container.items():
        yield f"{above}{key}"
        if isinstance(value, dict):
            yield from _dotted(value, f"{above}{key}.")
