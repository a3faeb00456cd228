"""Config groups, their choices and the keys below them, read from the YAML without Hydra."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ablate import CONF


def groups() -> list[str]:
    """Return the config groups."""
    return list(_default_choices())


def choices_of(group: str) -> list[str]:
    """Return the choices of a config group, the default first."""
    names = sorted(path.stem for path in (CONF / group).glob("[!_]*.yaml"))
    return sorted(names, key=lambda name: name not in _default_choices().get(group, []))


def keys(chosen: Mapping[str, Sequence[str]] | None = None) -> Iterator[str]:
    """Yield the dotted keys of a configuration.

    Args:
        chosen: config group → choices; of other groups, the default choices count.
    """
    root = {key: value for key, value in _read(CONF / "config.yaml").items() if key not in ("defaults", "hydra")}
    yield from _dotted(root)
    for group, choices in {**_default_choices(), **(chosen or {})}.items():
        for choice in choices:
            yield from keys_of(group, choice)


def keys_of(group: str, choice: str) -> Iterator[str]:
    """Yield the dotted keys that a choice of a config group sets; nothing for an unknown choice."""
    path = CONF / group / f"{choice}.yaml"
    # These groups hold overrides of other keys.
    content = _read(path) if path.is_file() and group not in ("experiment", "sweeps") else {}
    # Overrides of other groups are mappings.
    for name in filter(lambda entry: isinstance(entry, str), content.get("defaults", ["_self_"])):
        part = content if name == "_self_" else _read(CONF / group / f"{name}.yaml")
        yield from _dotted(part, f"{group}.")


def value_of(group: str, choice: str, key: str) -> Any:
    """Return the value that a choice of a config group gives to one of the group's keys, itself or by its defaults."""
    content = _read(CONF / group / f"{choice}.yaml")
    if key in content:
        return content[key]
    others = [entry for entry in content["defaults"] if isinstance(entry, str) and entry != "_self_"]
    return value_of(group, others[-1], key)


def choices_with(key: str) -> list[str]:
    """Return the choices of its config group, as `objective=prefix`, with which a key exists."""
    group = key.partition(".")[0]
    return [f"{group}={choice}" for choice in choices_of(group) if key in keys_of(group, choice)]


@cache
def _default_choices() -> dict[str, list[str]]:
    choices: dict[str, list[str]] = {}
    for entry in _read(CONF / "config.yaml")["defaults"]:
        for group, choice in entry.items() if isinstance(entry, dict) else ():
            # Not Hydra's own groups (`override hydra/launcher`).
            if " " not in group:
                choices[group] = choice if isinstance(choice, list) else [choice] if choice else []
    return choices


def _read(path: Path) -> dict[str, Any]:
    import yaml

    return yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}


def _dotted(container: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in container.items():
        if isinstance(value, dict) and value:
            yield from _dotted(value, f"{above}{key}.")
        elif key != "defaults":
            yield f"{above}{key}"
