"""Cells that a grid leaves out: each pattern names keys and the values at which a cell is not wanted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ablate.errors import UsageError, nearest
from ablate.grid.axis import SEED_KEYS


@dataclass
class Exclusion:
    """One pattern of `hydra.sweeper.exclude`. A cell that has all of its values is left out.

    Attributes:
        wanted: by key (a config group or a dotted key), the values that are meant.
        matches: how many arms it left out.
    """

    wanted: dict[str, list[Any]]
    matches: int = field(default=0)

    @classmethod
    def of(cls, pattern: Any, options_of: Callable[[str], Sequence[str]]) -> "Exclusion":
        """A pattern as it stands in the configuration.

        Args:
            pattern: keys and values.
            options_of: the choices of a config group; none where a key is no group.

        Raises:
            UsageError: it can match nothing.
        """
        if not isinstance(pattern, Mapping) or not pattern:
            raise UsageError(
                f"hydra.sweeper.exclude: {pattern!r} is no pattern. Write e.g. "
                "'hydra.sweeper.exclude=[{architecture: causal_decoder, objective: [prefix, mixed]}]'"
            )
        wanted = {
            str(key): list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
            for key, value in pattern.items()
        }
        for key, values in wanted.items():
            if key in SEED_KEYS:
                raise UsageError(f"hydra.sweeper.exclude: {key}: every arm gets the same seeds; none can be left out.")
            choices = options_of(key)
            for value in values:
                if choices and value not in choices:
                    raise UsageError(
                        f"hydra.sweeper.exclude: {key}: {value}: no such choice. {nearest(str(value), choices)}"
                    )
        return cls(wanted)

    def leaves_out(self, choices: Mapping[str, str], config: DictConfig) -> bool:
        """Whether a composed arm has all the values. Raises UsageError for a key that it does not have."""
        found = all(_value(key, choices, config) in values for key, values in self.wanted.items())
        self.matches += found
        return found

    def __str__(self) -> str:
        return (
            "{"
            + ", ".join(f"{key}: {values[0] if len(values) == 1 else values}" for key, values in self.wanted.items())
            + "}"
        )


def _value(key: str, choices: Mapping[str, str], config: DictConfig) -> Any:
    if key in choices:
        return choices[key]
    missing = object()
    try:
        value = OmegaConf.select(config, key, default=missing)
    except OmegaConfBaseException:
        value = missing
    if value is missing:
        raise UsageError(f"hydra.sweeper.exclude: {key}: unknown key. {nearest(key, [*choices, *map(str, config)])}")
    return value
