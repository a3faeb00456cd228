"""Axes of a grid (an override and its values), and the combinations of values that are arms."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.types import Override

from ablate.errors import UsageError, nearest

SEED_KEYS = ("seed", "init_seed", "data_seed")


@dataclass(frozen=True)
class Axis:
    """One override and its values, as Hydra writes them.

    Attributes:
        key: the key without Hydra's prefixes (`+`, `++`, `~`).
        values: the values as text.
        overrides: one override per value, with prefixes.
        is_plain: whether it has no prefix.
    """

    key: str
    values: tuple[str, ...]
    overrides: tuple[str, ...]
    is_plain: bool = True

    @classmethod
    def of(cls, override: Override) -> "Axis":
        """Read the values that an override sets."""
        key, prefixed = override.key_or_group, override.get_key_element()
        if override.is_delete():
            return cls(key, ("",), (override.input_line or prefixed,), is_plain=False)
        if not override.is_sweep_override():
            values: tuple[str, ...] = (override.get_value_element_as_str(),)
        else:
            values = tuple(override.sweep_string_iterator())
        return cls(key, values, tuple(f"{prefixed}={value}" for value in values), is_plain=prefixed == key)

    @property
    def is_swept(self) -> bool:
        """Whether the override has several values."""
        return len(self.values) > 1


def combinations(axes: Sequence[Axis], zips: Sequence[Sequence[str]]) -> Iterator[tuple[int, ...]]:
    """Yield the index of each axis's value per combination. The last axis varies fastest.

    Args:
        axes: the axes.
        zips: keys of axes that vary together: first values with first values, and so on.

    Raises:
        UsageError: a zip names a key without several values, or lists of different lengths.
    """
    places = {axis.key: place for place, axis in enumerate(axes)}
    groups = [[places[key] for key in keys] for keys in _checked_zips(axes, zips)]
    zipped = {place: group for group in groups for place in group}
    # A zip takes the place of its first axis.
    dimensions = [zipped.get(place, [place]) for place in range(len(axes)) if zipped.get(place, [place])[0] == place]
    for chosen in itertools.product(*(range(len(axes[dimension[0]].values)) for dimension in dimensions)):
        indices = dict.fromkeys(range(len(axes)), 0)
        for dimension, index in zip(dimensions, chosen, strict=True):
            indices |= dict.fromkeys(dimension, index)
        yield tuple(indices.values())


def _checked_zips(axes: Sequence[Axis], zips: Sequence[Sequence[str]]) -> list[list[str]]:
    swept = {axis.key: axis for axis in axes if axis.is_swept}
    checked: list[list[str]] = []
    order = [axis.key for axis in axes]
    for keys in zips:
        shown = f"hydra.sweeper.zip: [{', '.join(map(str, keys))}]"
        for key in keys:
            if key in SEED_KEYS:
                raise UsageError(f"{shown}: every arm gets the same seeds, so {key} can't be zipped.")
            if key not in swept:
                allowed = nearest(str(key), swept) if swept else "Nothing is swept here."
                raise UsageError(f"{shown}: {key} does not have several values. {allowed}")
            if any(key in keys_before for keys_before in checked) or list(keys).count(key) > 1:
                raise UsageError(f"{shown}: {key} is zipped twice.")
        if len(keys) < 2:
            raise UsageError(f"{shown}: takes at least two keys that vary together.")
        lengths = {key: len(swept[key].values) for key in keys}
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"{key} has {length}" for key, length in lengths.items())
            raise UsageError(f"{shown}: needs the same number of values for each key; {counts}.")
        checked.append(sorted(keys, key=order.index))
    return checked
