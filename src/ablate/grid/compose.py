"""Compose arms: Hydra composes each choice of config groups once; then the values that differ are set.

Hydra takes 130 ms of CPU for a configuration of this size. Setting a value on a composed one takes 3 ms.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from ablate.errors import UsageError
from ablate.grid.axis import Axis
from ablate.grid.interpolation import register

register()


class Composer:
    """The composer of a command's arms.

    Args:
        loader: Hydra's config loader.
        master: the configuration that the sweeper was created with.
        axes: the command's overrides, without seeds.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig, axes: Sequence[Axis]) -> None:
        self.loader = loader
        self.master = master
        self.axes = axes
        self._options: dict[str, list[str]] = {}
        self._parser = OverridesParser.create(config_loader=loader)
        self._settable = [self._is_settable(axis) for axis in axes]
        self._composed: dict[tuple[str, ...], tuple[DictConfig, dict[str, str]]] = {}
        # Per composed configuration, the original values of the keys that `variant` set.
        self._changed: dict[tuple[str, ...], dict[str, Any]] = {}

    def arm(self, chosen: Sequence[int]) -> tuple[DictConfig, dict[str, str]]:
        """Return an arm's configuration, which the next call may change, and the choice of each config group.

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
        """Compose overrides, set values, and return the same as `arm`.

        Args:
            overrides: the overrides of an arm.
            values: the value of each key; a config group's value is a choice.

        Raises:
            UsageError: an unknown key.
        """
        groups = [key for key in values if self.options_of(key)]
        composing = (*overrides, *(f"{key}={values[key]}" for key in groups))
        config, choices = self._once(composing)
        # Restore the keys of the last call. Copying the configuration takes ten times as long.
        for key, original in self._changed.pop(composing, {}).items():
            OmegaConf.update(config, key, original)
        changed = self._changed.setdefault(composing, {})
        for key in values.keys() - set(groups):
            parent, _, last = key.rpartition(".")
            node = OmegaConf.select(config, parent)
            if not isinstance(node, DictConfig) or last not in node:
                raise UsageError(f"{key}: unknown key. --cfg job prints all keys.")
            siblings: Any = OmegaConf.to_container(node, resolve=False)
            changed[key] = siblings[last]
            OmegaConf.update(config, key, values[key])
        return config, choices

    def _once(self, overrides: tuple[str, ...]) -> tuple[DictConfig, dict[str, str]]:
        if overrides not in self._composed:
            self._composed[overrides] = self._by_hydra(list(overrides))
        return self._composed[overrides]

    def options_of(self, key: str) -> list[str]:
        """Return the choices of a config group, or an empty list if the key is not a group."""
        if key not in self._options:
            self._options[key] = list(self.loader.get_group_options(key, ObjectType.CONFIG))
        return self._options[key]

    def _by_hydra(self, overrides: list[str]) -> tuple[DictConfig, dict[str, str]]:
        # Without swept keys, the sweeper was created with this very configuration.
        is_master = list(self.master.hydra.overrides.task) == overrides
        config = self.master.copy() if is_master else self.loader.load_sweep_config(self.master, overrides)
        choices = {str(group): str(choice) for group, choice in config.hydra.runtime.choices.items() if choice}
        with open_dict(config):
            config.pop("hydra")
        return config, {group: choice for group, choice in choices.items() if not group.startswith("hydra")}

    def _parsed(self, axis: Axis, index: int) -> Any:
        value = self._parser.parse_override(axis.overrides[index]).value()
        # Hydra wraps quoted text in an object that keeps the quotes.
        return getattr(value, "text", value)

    def _is_settable(self, axis: Axis) -> bool:
        """Return whether setting an axis's values on one configuration gives what Hydra would compose."""
        if not axis.is_swept or not axis.is_plain:
            return False
        if self.options_of(axis.key):
            return False
        # Nested overrides depend on their order, and a mapping or list on the value before it.
        others = [other.key for other in self.axes if other is not axis]
        if any(f"{axis.key}.".startswith(f"{key}.") or f"{key}.".startswith(f"{axis.key}.") for key in others):
            return False
        return not any(isinstance(self._parsed(axis, index), dict | list) for index in range(len(axis.values)))


def container_of(config: DictConfig) -> dict[str, Any]:
    """Convert a composed configuration, without `hydra`, to a resolved plain container."""
    with open_dict(config):
        config.pop("hydra", None)
    container: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(container, dict)
    return container
