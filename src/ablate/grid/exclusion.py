"""Patterns of arms that a grid leaves out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ablate.errors import UsageError, nearest
from ablate.grid.axis import SEED_KEYS


@dataclass
class Exclusion:
    """One pattern of `hydra.sweeper.exclude`. It matches an arm whose keys all have one of the listed values.

    Attributes:
        values: the listed values of each key (a config group or a dotted key).
        matches: the number of arms that it has matched.
    """

    values: dict[str, list[Any]]
    matches: int = field(default=0)

    @classmethod
    def of(cls, pattern: Any, options_of: Callable[[str], Sequence[str]]) -> "Exclusion":
        """Read a pattern of the configuration.

        Args:
            pattern: a value or a list of values per key.
            options_of: returns the choices of a config group, or nothing for other keys.

        Raises:
            UsageError: a pattern that cannot match any arm.
        """
        if not isinstance(pattern, Mapping) or not pattern:
            raise UsageError(
                f"hydra.sweeper.exclude: {pattern!r} is not a pattern. Write e.g. "
                "'hydra.sweeper.exclude=[{architecture: causal_decoder, objective: [prefix, mixed]}]'"
            )
        values = {
            str(key): list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
            for key, value in pattern.items()
        }
        for key, listed in values.items():
            if key in SEED_KEYS:
                raise UsageError(
                    f"hydra.sweeper.exclude: {key}: all arms have the same seeds, so they cannot be excluded."
                )
            choices = options_of(key)
            for value in listed:
                if choices and value not in choices:
                    raise UsageError(
                        f"hydra.sweeper.exclude: {key}: {value}: no such choice. {nearest(str(value), choices)}"
                    )
        return cls(values)

    def leaves_out(self, choices: Mapping[str, str], config: DictConfig) -> bool:
        """Return whether the pattern matches a composed arm. Raises UsageError for an unknown key."""
        is_match = all(_value(key, choices, config) in values for key, values in self.values.items())
        self.matches += is_match
        return is_match

    def __str__(self) -> str:
        return (
            "{"
            + ", ".join(f"{key}: {values[0] if len(values) == 1 else values}" for key, values in self.values.items())
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
