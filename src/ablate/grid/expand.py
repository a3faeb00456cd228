"""Expand a command's overrides to arms. Hydra composes each arm once; seeds are set on the typed configuration."""

import itertools
import shlex
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from ablate import CONF
from ablate.config.grid import FIRST_LOOK, LAST_LOOK, Composed, GridConfig
from ablate.config.parse import composed_from_container
from ablate.config.quoting import with_quotes
from ablate.config.trial import TrialConfig
from ablate.console import counted
from ablate.errors import UsageError
from ablate.grid.axis import SEED_KEYS, Axis, combinations
from ablate.grid.compose import Composer, container_of
from ablate.grid.exclusion import Exclusion
from ablate.grid.unknown_key import OWN_WEIGHTS
from ablate.records.grid import values_of

# Keys of the whole grid, which cannot differ between arms.
GRID_WIDE = ("replicates", "max_replicates", "lesson", "runs_dir")


@dataclass(frozen=True)
class Seeds:
    """The two seeds of a trial. As text, they are one number if they are equal."""

    init_seed: int
    data_seed: int

    def __str__(self) -> str:
        return str(self.init_seed) if self.init_seed == self.data_seed else f"{self.init_seed}/{self.data_seed}"

    def on(self, trial: TrialConfig) -> TrialConfig:
        """Return the trial with these seeds."""
        return replace(trial, init_seed=self.init_seed, data_seed=self.data_seed)


@dataclass(frozen=True)
class Arm:
    """One composed arm.

    Attributes:
        label: its swept values, with their keys where these are no config groups: `prefix / learning_rate=0.001`.
        options: the value of each swept key.
        choices: the choice of each config group.
        overrides: the overrides that compose it, without seeds.
        composed: its typed configuration, with the seeds of the first trial.
        tuned: the value of each key that tuning set.
    """

    label: str
    options: dict[str, str]
    choices: dict[str, str]
    overrides: tuple[str, ...]
    composed: Composed
    tuned: dict[str, str] = field(default_factory=dict)

    @property
    def values(self) -> str:
        """Its swept values without keys, which the ids of grids and the names of studies are made of."""
        return values_of(self.options)


@dataclass(frozen=True)
class Expanded:
    """A command's arms, the seeds of each arm, and the number of seeds at each look.

    Attributes:
        tuned: label → the arm under each seed, where it was tuned for each seed.
    """

    arms: tuple[Arm, ...]
    seeds: tuple[Seeds, ...]
    looks: tuple[int, ...]
    tuned: Mapping[str, tuple[Arm, ...]] = field(default_factory=dict)

    def variants(self, arm: Arm) -> tuple[Arm, ...]:
        """Return the arm under each seed; one that is the same under all seeds is there once."""
        return self.tuned.get(arm.label, (arm,))

    @property
    def runs_dir(self) -> Path:
        """The folder of the ledger, which is the same for all arms."""
        return Path(self.arms[0].composed.runs_dir).expanduser().absolute()


def expand(
    loader: ConfigLoader,
    master: DictConfig,
    arguments: list[str],
    *,
    is_grid: bool,
    exclude: Sequence[Any] = (),
    zips: Sequence[Sequence[str]] = (),
    first_seed: int = 0,
    say: Callable[[str], None] = print,
) -> Expanded:
    """Compose and check all arms of a command.

    Args:
        loader: Hydra's config loader.
        master: the configuration that the sweeper was created with.
        arguments: the command's overrides.
        is_grid: whether a key may have several values; otherwise there is one trial.
        exclude: patterns of arms to leave out.
        zips: lists of keys that vary together.
        first_seed: the first replicate's seed, if the command sets no seed.
        say: prints a warning about a pattern that matches no arm.

    Raises:
        UsageError: an override or an arm is invalid.
    """
    axes = [Axis.of(override) for override in OverridesParser.create(config_loader=loader).parse_overrides(arguments)]
    _check_axes(axes, arguments, is_grid=is_grid)
    arm_axes = [axis for axis in axes if axis.key not in SEED_KEYS]
    composer = Composer(loader, master, arm_axes)
    exclusions = [Exclusion.of(pattern, composer.options_of) for pattern in exclude]
    arms: list[Arm] = []
    for chosen in combinations(arm_axes, zips):
        config, choices = composer.arm(chosen)
        # A sum, not any(), so every pattern counts its matches. Before the checks, which an excluded arm may fail.
        if sum(exclusion.leaves_out(choices, config) for exclusion in exclusions):
            continue
        options = {axis.key: axis.values[index] for axis, index in zip(arm_axes, chosen, strict=True) if axis.is_swept}
        label = _label(options, choices)
        if label in [arm.label for arm in arms]:
            raise UsageError(f"{label}: two arms are the same. Give each value once.")
        overrides = tuple(axis.overrides[index] for axis, index in zip(arm_axes, chosen, strict=True))
        arms.append(Arm(label, options, choices, overrides, composed_from_container(container_of(config))))
    for exclusion in exclusions:
        if not exclusion.matches:
            say(f"hydra.sweeper.exclude: this pattern matches no arm: {exclusion}")
    if not arms:
        raise UsageError("hydra.sweeper.exclude leaves out every arm of this grid.")
    seed_axes = [axis for axis in axes if axis.key in SEED_KEYS]
    looks = _looks(arms[0].composed.grid, seed_axes) if is_grid else (1,)
    seeds = _seeds(seed_axes, looks[-1], first_seed)
    if seed_axes and "replicates" in [axis.key for axis in axes] and len(seeds) != looks[0] and is_grid:
        seed_settings = ", ".join(f"{axis.key}={','.join(axis.values)}" for axis in seed_axes)
        raise UsageError(
            f"replicates={looks[0]} and {seed_settings} contradict each other: {counted(len(seeds), 'seed')} per arm. "
            "Leave one of them out."
        )
    return Expanded(tuple(arms), seeds, (len(seeds),) if seed_axes else looks)


def _label(options: Mapping[str, str], choices: Container[str]) -> str:
    """Return an arm's swept values; the value of a key that is no config group is named by the end of the key."""
    ends = [key.rpartition(".")[2] for key in options]
    parts = []
    for (key, value), end in zip(options.items(), ends, strict=True):
        name = end if ends.count(end) == 1 else key
        parts.append(value if key in choices else f"{name}={value}")
    return " / ".join(parts) or values_of({})


def has_interval(loader: ConfigLoader, arguments: list[str]) -> bool:
    """Return whether a key has an interval of values, so the command is a tuning."""
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(arguments)
    return any(override.is_interval_sweep() for override in parsed)


def with_params(arguments: Sequence[str], params: Mapping[str, Any]) -> list[str]:
    """Put an experiment's overrides before a command's, without the keys that the command sets.

    >>> with_params(["objective=mixed", "seed=1"], {"objective": "causal,prefix", "block": "gptj,llama"})
    ['block=gptj,llama', 'objective=mixed', 'seed=1']
    """
    keys = {argument.lstrip("+~").partition("=")[0] for argument in arguments}
    return [*(f"{key}={value}" for key, value in params.items() if key not in keys), *arguments]


def _check_axes(axes: list[Axis], arguments: list[str], *, is_grid: bool) -> None:
    """Raise UsageError for overrides that cannot be meant together."""
    keys = [axis.key for axis in axes]
    for axis in axes:
        setting = f"{axis.key}={','.join(axis.values)}"
        if axis.key in ("trial_id", "candidate"):
            raise UsageError(f"{axis.key}: set by ablate. To run a trial again, repeat its overrides.")
        if keys.count(axis.key) > 1:
            every = [",".join(other.values) for other in axes if other.key == axis.key]
            raise UsageError(
                f"{axis.key}: given {len(every)} times ({'; '.join(every)}). Leave all but one out, or compare them: "
                f"-m {axis.key}={','.join(every)}"
            )
        if axis.is_swept and axis.key.split(".")[0] in GRID_WIDE:
            raise UsageError(
                f"{setting}: applies to the whole grid. Give one value. If the comma belongs to it, quote it twice: "
                f"{with_quotes(axis.key, _typed(axis.key, arguments))}"
            )
        if axis.key == "mixture.weights" and not _is_own_mixture(axes):
            raise UsageError(
                f"{setting}: would be merged into the weights of the mixture. For weights of your own: {OWN_WEIGHTS} "
                "To change one weight: mixture.weights.SOURCE=NUMBER"
            )
    if is_grid:
        return
    for axis in axes:
        if axis.is_swept:
            raise UsageError(
                f"{axis.key}={','.join(axis.values)}: several values make a grid; add -m:\n"
                f"  python -m ablate -m {shlex.join(arguments)}\n"
                f"If the comma belongs to the value, quote it twice: "
                f"{with_quotes(axis.key, _typed(axis.key, arguments))}"
            )


def _typed(key: str, arguments: Sequence[str]) -> str:
    """Return the value of a key as it was typed."""
    return next(value for name, _, value in (word.partition("=") for word in arguments) if name.lstrip("+~") == key)


def _is_own_mixture(axes: Sequence[Axis]) -> bool:
    return any(axis.key == "mixture" and set(axis.values) == {"own"} for axis in axes)


def default_container(*overrides: str) -> dict[str, Any]:
    """Compose `conf/` with overrides, without a command line, as a plain container."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return container_of(hydra_compose("config", list(overrides)))


def _looks(grid: GridConfig, seed_axes: Sequence[Axis]) -> tuple[int, ...]:
    """Return the number of seeds at each look: a fifth more than at the one before, up to `max_replicates`."""
    first = grid.replicates or min(FIRST_LOOK, grid.max_replicates or FIRST_LOOK)
    most = grid.max_replicates or (first if grid.replicates or seed_axes else LAST_LOOK)
    if most < first:
        raise UsageError(f"max_replicates={most}: less than replicates={first}.")
    if most > first and seed_axes:
        seeds = ", ".join(f"{axis.key}={','.join(axis.values)}" for axis in seed_axes)
        raise UsageError(
            f"max_replicates={most} adds seeds while comparisons are undecided, and {seeds} fixes them. "
            "Leave one of them out: max_replicates=null."
        )
    looks = [first]
    while looks[-1] < most:
        looks.append(min(most, -(-looks[-1] * 6 // 5)))
    return tuple(looks)


def _seeds(axes: list[Axis], replicates: int, first: int) -> tuple[Seeds, ...]:
    """Return the seeds that the command sets, in its order, or `first`, `first` + 1, … for the replicates."""
    if not axes:
        return tuple(Seeds(seed, seed) for seed in range(first, first + replicates))
    choices = [[(axis.key, _seed(axis.key, value)) for value in axis.values] for axis in axes]
    for axis in axes:
        if len(set(axis.values)) < len(axis.values):
            raise UsageError(f"{axis.key}={','.join(axis.values)}: names a seed twice. Give each seed once.")
    pairs: dict[Seeds, None] = {}
    for combination in itertools.product(*choices):
        values = dict(combination)
        both = values.get("seed", 0)
        pairs[Seeds(values.get("init_seed", both), values.get("data_seed", both))] = None
    distinct = [len({seeds.init_seed for seeds in pairs}), len({seeds.data_seed for seeds in pairs})]
    if max(distinct) < len(pairs):
        raise UsageError(
            f"init_seed and data_seed are crossed: {len(pairs)} trials per arm, but only {distinct[0]} initialisations "
            f"and {distinct[1]} data orders, so an interval cannot treat them as {len(pairs)} seeds. Vary both "
            "together (seed=0,1,2) or one of them."
        )
    return tuple(pairs)


def _seed(key: str, value: str) -> int:
    if not value.isdecimal() or int(value) >= 2**63:
        raise UsageError(f"{key}={value}: a seed is a whole number from 0 up, e.g. {key}=0 or {key}=0,1,2.")
    return int(value)
