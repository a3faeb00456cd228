"""YAML files for Hydra, each parsed once per process of tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any
from unittest.mock import patch

import yaml
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader


@cache
def _parsed(text: str) -> Any:
    return yaml.load(text, get_yaml_loader())


@contextmanager
def parsed_once() -> Iterator[None]:
    """Inside the block, Hydra parses each different text once. It reads some thirty files for each configuration."""
    load = OmegaConf.load

    def load_parsed(file: str | Path | IO[str]) -> Any:
        return load(file) if isinstance(file, (str, Path)) else OmegaConf.create(_parsed(file.read()) or {})

    with patch.object(OmegaConf, "load", load_parsed):
        yield
