"""The command line inside the test's process: no second interpreter, and one fork server for all commands."""

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from ablate.__main__ import main
from ablate.scheduling.processes import start_server

# What commands, and not only their trials, import. The fork server of the tests runs for all of them.
COMMANDS = ("ablate.grid.command", "ablate.tuning.run", "ablate.reports.report")


@dataclass(frozen=True)
class Completed:
    """What a command printed and its exit code."""

    returncode: int
    stdout: str
    stderr: str


def run_in_process(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Completed:
    """Run `python -m ablate` with these arguments in a folder and return what it prints.

    Trials run in children of the test process's fork server, which has the environment of its start. Use a subprocess
    where signals, the environment of trials or two commands at once are the point.
    """
    start_server(*COMMANDS)
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["ablate", *arguments]),
        patch.dict(os.environ, environment or {}),
        contextlib.chdir(folder),
        _without_log_handlers(),
        _without_hydra(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            code = main()
        except SystemExit as end:
            code = int(end.code or 0)
    return Completed(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _without_log_handlers() -> Iterator[None]:
    """Hide pytest's handlers, because warnings are only logged to standard error where there is no handler."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers = []
    try:
        yield
    finally:
        root.handlers = handlers
        root.setLevel(level)


@contextlib.contextmanager
def _without_hydra() -> Iterator[None]:
    """Start and end without a composed configuration."""
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = None
