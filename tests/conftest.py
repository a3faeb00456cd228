"""A small world: two sources of made-up text, a small model, and a trial composed from our own YAML."""

import gc
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from ablate.config.parse import composed_from_container
from ablate.config.trial import TrialConfig
from ablate.data.tokens.shards import Shards, open_shards
from ablate.grid.resolve import Resolver
from ablate.reports import report
from tests.support.text import write_text
from tests.support.trials import MakeTrial, small_container
from tests.support.yaml import parsed_once

# Machines are noisy: no test fails for being slow, and a failure is the same one everywhere.
settings.register_profile("ablate", deadline=None, derandomize=True)
settings.load_profile("ablate")
# One process of tests per core: more threads only wait for each other.
torch.set_num_threads(1)
# A shell's background job ignores Ctrl-C and hands that down to what it starts. Tests send it, and wait for its effect.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Leave what is imported by now, half a million objects, out of every search for garbage."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _yaml_is_parsed_once() -> Iterator[None]:
    with parsed_once():
        yield


@pytest.fixture(scope="module")
def no_figures() -> Iterator[None]:
    """Let grids end without figures and page, which take longer than a tiny trial."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "save", lambda *figure: None)
        patch.setattr(report, "draw_curves", lambda lesson: None)
        patch.setattr(report, "draw_forest", lambda lesson: None)
        patch.setattr(report, "write_page", lambda lessons, path: None)
        yield


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("some text")
    return {"code": write_text(root / "code", 40, 1), "english": write_text(root / "english", 40, 2)}


@pytest.fixture(scope="session")
def make_trial(text: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> MakeTrial:
    """A function from overrides (as on the command line) to a small trial."""
    cache = tmp_path_factory.mktemp("cache")

    def make(*overrides: str, **changes: Any) -> TrialConfig:
        container = small_container(text, cache, *overrides) | changes
        return Resolver(cache, lambda message: None)(composed_from_container(container).trial)

    return make


@pytest.fixture(scope="session")
def shards(make_trial: MakeTrial) -> Shards:
    return open_shards(make_trial())
