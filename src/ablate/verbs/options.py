"""Config groups, their choices and the keys below them, read from the YAML without Hydra."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ablate import CONF


def groups() -> list[str]:
    """The config groups."""
    return list(_default_choices())


def choices_of(group: str) -> list[str]:
    """The choices of a config group, the default first."""
    names = sorted(path.stem for path in (CONF / group).glob("[!_]*.yaml"))
    return sorted(names, key=lambda name: name != _default_choices().get(group))


def keys() -> Iterator[str]:
    """Every dotted key of the default configuration."""
    root = {key: value for key, value in _read(CONF / "config.yaml").items() if key not in ("defaults", "hydra")}
    yield from _dotted(root)
    for group, choice in _default_choices().items():
        if choice:
            yield from _dotted(_read(CONF / group / f"{choice}.yaml"), f"{group}.")


@cache
def _default_choices() -> dict[str, str | None]:
    entries = [entry for entry in _read(CONF / "config.yaml")["defaults"] if isinstance(entry, dict)]
    return {group: choice for entry in entries for group, choice in entry.items() if " " not in group}


def _read(path: Path) -> dict[str, Any]:
    import yaml

    return yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}


def _dotted(container: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in container.items():
        if isinstance(value, dict) and value:
            yield from _dotted(value, f"{above}{key}.")
        elif key != "defaults":
            yield f"{above}{key}"
