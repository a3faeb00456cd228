"""From a command's overrides to arms: Hydra composes each arm once, the types check it, seeds are set on the types."""

import itertools
import shlex
from dataclasses import dataclass, replace
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

from ablate import CONF
from ablate.config import Composed, TrialConfig
from ablate.errors import UsageError
from ablate.parsing import composed_from_container

SEED_KEYS = ("seed", "init_seed", "data_seed")
# Of the grid as a whole: no arm can have its own.
GRID_WIDE = ("replicates", "lesson", "runs_dir")


@dataclass(frozen=True)
class Seeds:
    """The two seeds of a trial; as text, one number where they are equal."""

    init_seed: int
    data_seed: int

    def __str__(self) -> str:
        return str(self.init_seed) if self.init_seed == self.data_seed else f"{self.init_seed}/{self.data_seed}"

    def on(self, trial: TrialConfig) -> TrialConfig:
        """The trial with these seeds."""
        return replace(trial, init_seed=self.init_seed, data_seed=self.data_seed)


@dataclass(frozen=True)
class Axis:
    """One override and its values, as Hydra writes them.

    Attributes:
        key: without the marks that add, force or delete.
        overrides: one override per value, marks included.
    """

    key: str
    values: tuple[str, ...]
    overrides: tuple[str, ...]

    @classmethod
    def of(cls, override: Override) -> "Axis":
        """The values that an override lists or the one that it sets."""
        key, marked = override.key_or_group, override.get_key_element()
        if override.is_delete():
            return cls(key, ("",), (override.input_line or marked,))
        if not override.is_sweep_override():
            values: tuple[str, ...] = (override.get_value_element_as_str(),)
        elif override.is_discrete_sweep():
            values = tuple(override.sweep_string_iterator())
        else:
            raise UsageError(f"{override.input_line}: an interval is no list of values. Write {key}=a,b,c.")
        return cls(key, values, tuple(f"{marked}={value}" for value in values))


@dataclass(frozen=True)
class Arm:
    """One composed arm.

    Attributes:
        label: its swept values.
        options: swept key → value.
        choices: config group → choice.
        composed: its typed configuration, with the seeds of the first trial.
    """

    label: str
    options: dict[str, str]
    choices: dict[str, str]
    composed: Composed


@dataclass(frozen=True)
class Expanded:
    """A command's arms and the seeds that each of them gets."""

    arms: tuple[Arm, ...]
    seeds: tuple[Seeds, ...]


def expand(loader: ConfigLoader, master: DictConfig, arguments: list[str], *, is_grid: bool) -> Expanded:
    """All arms of a command, composed and checked.

    Args:
        loader: Hydra's.
        master: the configuration that the sweeper was made with.
        arguments: the command's overrides.
        is_grid: whether several values are allowed; without it there is one trial.

    Raises:
        UsageError: for any arm, before anything starts.
    """
    axes = [Axis.of(override) for override in OverridesParser.create(config_loader=loader).parse_overrides(arguments)]
    if any(axis.key == "trial_id" for axis in axes):
        raise UsageError("trial_id: the grid sets it. To run a trial again, give the overrides it was made with.")
    swept = [axis for axis in axes if len(axis.values) > 1]
    for axis in swept:
        if axis.key.split(".")[0] in GRID_WIDE:
            raise UsageError(f"{axis.key}={','.join(axis.values)}: belongs to the grid as a whole; give one value.")
    if swept and not is_grid:
        raise UsageError(
            f"{swept[0].key}={','.join(swept[0].values)}: several values make a grid; add -m:\n"
            f"  python -m ablate -m {shlex.join(arguments)}"
        )
    seed_axes = [axis for axis in axes if axis.key in SEED_KEYS]
    arm_axes = [axis for axis in axes if axis.key not in SEED_KEYS]
    arms = []
    for chosen in itertools.product(*(range(len(axis.values)) for axis in arm_axes)):
        pairs = list(zip(arm_axes, chosen, strict=True))
        options = {axis.key: axis.values[index] for axis, index in pairs if len(axis.values) > 1}
        config = loader.load_sweep_config(master, [axis.overrides[index] for axis, index in pairs])
        chosen_groups = {str(group): str(choice) for group, choice in config.hydra.runtime.choices.items()}
        choices = {group: choice for group, choice in chosen_groups.items() if not group.startswith("hydra")}
        label = " / ".join(options.values()) or "trial"
        arms.append(Arm(label, options, choices, composed_from_container(_container(config))))
    replicates = arms[0].composed.grid.replicates if is_grid else 1
    return Expanded(tuple(arms), _seeds(seed_axes, replicates))


def default_container(*overrides: str) -> dict[str, Any]:
    """Our YAML under some overrides, as a plain container, without a command line around it."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return _container(hydra_compose("config", list(overrides)))


def _container(config: DictConfig) -> dict[str, Any]:
    with open_dict(config):
        config.pop("hydra", None)
    container: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(container, dict)
    return container


def _seeds(axes: list[Axis], replicates: int) -> tuple[Seeds, ...]:
    """The seeds that the command names, in its order, or 0, 1, 2 … for each replicate."""
    if not axes:
        return tuple(Seeds(seed, seed) for seed in range(replicates))
    choices = [[(axis.key, _seed(axis.key, value)) for value in axis.values] for axis in axes]
    found: dict[Seeds, None] = {}
    for chosen in itertools.product(*choices):
        given = dict(chosen)
        both = given.get("seed", 0)
        found[Seeds(given.get("init_seed", both), given.get("data_seed", both))] = None
    distinct = [len({seeds.init_seed for seeds in found}), len({seeds.data_seed for seeds in found})]
    if max(distinct) < len(found):
        raise UsageError(
            f"init_seed and data_seed cross: {len(found)} trials of an arm, but only {distinct[0]} initialisations and "
            f"{distinct[1]} orders of the data, which no interval can take for {len(found)} seeds. Vary both together "
            "(seed=0,1,2) or one of them."
        )
    return tuple(found)


def _seed(key: str, value: str) -> int:
    if not value.isdecimal() or int(value) >= 2**63:
        raise UsageError(f"{key}={value}: a seed is a whole number from 0 up, e.g. {key}=0 or {key}=0,1,2.")
    return int(value)
