"""Composes arms: by Hydra once per choice of groups, and from there by setting the values that differ.

Hydra takes some 50 to 100 ms for a configuration of our size, setting a value on a composed one takes three.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from ablate.errors import UsageError
from ablate.grid.axis import Axis


class Composer:
    """Composes the arms of one command.

    Args:
        loader: Hydra's.
        master: the configuration that the sweeper was made with.
        axes: every override of the command but the seeds.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig, axes: Sequence[Axis]) -> None:
        self.loader = loader
        self.master = master
        self.axes = axes
        self._options: dict[str, list[str]] = {}
        self._parser = OverridesParser.create(config_loader=loader)
        self._settable = [self._is_settable(axis) for axis in axes]
        self._composed: dict[tuple[str, ...], tuple[DictConfig, dict[str, str]]] = {}
        # Of what was composed, the values that `variant` set, as they were.
        self._changed: dict[tuple[str, ...], dict[str, Any]] = {}

    def arm(self, chosen: Sequence[int]) -> tuple[DictConfig, dict[str, str]]:
        """One arm's configuration, which the next call may change, and the choice of each config group.

        Args:
            chosen: the index of each axis's value.
        """
        pairs = list(zip(self.axes, chosen, self._settable, strict=True))
        overrides = tuple(axis.overrides[0 if settable else index] for axis, index, settable in pairs)
        config, choices = self._once(overrides)
        for axis, index, settable in pairs:
            if settable:
                OmegaConf.update(config, axis.key, self._parsed(axis, index))
        return config, choices

    def variant(self, overrides: Sequence[str], values: Mapping[str, Any]) -> tuple[DictConfig, dict[str, str]]:
        """Of these overrides with some values set: the configuration, which the next call may change, and the choices.

        Args:
            overrides: of an arm.
            values: by key; those of config groups are choices.

        Raises:
            UsageError: a key that is not there.
        """
        groups = [key for key in values if self.options_of(key)]
        composing = (*overrides, *(f"{key}={values[key]}" for key in groups))
        config, choices = self._once(composing)
        # The last values may have been those of other keys. Put back, not copied: that takes ten times as long.
        for key, before in self._changed.pop(composing, {}).items():
            OmegaConf.update(config, key, before)
        changed = self._changed.setdefault(composing, {})
        for key in values.keys() - set(groups):
            parent, _, last = key.rpartition(".")
            node = OmegaConf.select(config, parent)
            if not isinstance(node, DictConfig) or last not in node:
                raise UsageError(f"{key}: unknown key. --cfg job prints all keys.")
            beside: Any = OmegaConf.to_container(node, resolve=False)
            changed[key] = beside[last]
            OmegaConf.update(config, key, values[key])
        return config, choices

    def _once(self, overrides: tuple[str, ...]) -> tuple[DictConfig, dict[str, str]]:
        if overrides not in self._composed:
            self._composed[overrides] = self._by_hydra(list(overrides))
        return self._composed[overrides]

    def options_of(self, key: str) -> list[str]:
        """The choices of a config group; none where a key is no group."""
        if key not in self._options:
            self._options[key] = list(self.loader.get_group_options(key, ObjectType.CONFIG))
        return self._options[key]

    def _by_hydra(self, overrides: list[str]) -> tuple[DictConfig, dict[str, str]]:
        config = self.loader.load_sweep_config(self.master, overrides)
        found = {str(group): str(choice) for group, choice in config.hydra.runtime.choices.items() if choice}
        with open_dict(config):
            config.pop("hydra")
        return config, {group: choice for group, choice in found.items() if not group.startswith("hydra")}

    def _parsed(self, axis: Axis, index: int) -> Any:
        value = self._parser.parse_override(axis.overrides[index]).value()
        # Hydra keeps the quotes of a text, to write it again.
        return getattr(value, "text", value)

    def _is_settable(self, axis: Axis) -> bool:
        """Whether setting its values one after the other on one configuration gives what Hydra would compose."""
        if not axis.is_swept or not axis.is_plain:
            return False
        if self.options_of(axis.key):
            return False
        # A node under or above another override depends on their order, a mapping or list on what was there before.
        others = [other.key for other in self.axes if other is not axis]
        if any(f"{axis.key}.".startswith(f"{key}.") or f"{key}.".startswith(f"{axis.key}.") for key in others):
            return False
        return not any(isinstance(self._parsed(axis, index), dict | list) for index in range(len(axis.values)))


def container_of(config: DictConfig) -> dict[str, Any]:
    """A composed configuration without Hydra's part, resolved, as a plain container."""
    with open_dict(config):
        config.pop("hydra", None)
    container: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(container, dict)
    return container
