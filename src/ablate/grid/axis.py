"""An axis of a grid: an override and its values; and which combinations of values make arms."""

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
        key: without the marks that add, force or delete.
        values: as text.
        overrides: one override per value, marks included.
        is_plain: whether it has no marks.
    """

    key: str
    values: tuple[str, ...]
    overrides: tuple[str, ...]
    is_plain: bool = True

    @classmethod
    def of(cls, override: Override) -> "Axis":
        """The values that an override lists or the one that it sets."""
        key, marked = override.key_or_group, override.get_key_element()
        if override.is_delete():
            return cls(key, ("",), (override.input_line or marked,), is_plain=False)
        if not override.is_sweep_override():
            values: tuple[str, ...] = (override.get_value_element_as_str(),)
        else:
            values = tuple(override.sweep_string_iterator())
        return cls(key, values, tuple(f"{marked}={value}" for value in values), is_plain=marked == key)

    @property
    def is_swept(self) -> bool:
        """Whether it has several values."""
        return len(self.values) > 1


def combinations(axes: Sequence[Axis], zips: Sequence[Sequence[str]]) -> Iterator[tuple[int, ...]]:
    """The index of each axis's value, combination by combination; the last axis varies fastest.

    Args:
        axes: the axes.
        zips: keys of axes that vary together: first values with first values, and so on.

    Raises:
        UsageError: a zip of something that is not swept, or of lists that differ in length.
    """
    places = {axis.key: place for place, axis in enumerate(axes)}
    groups = [[places[key] for key in keys] for keys in _checked_zips(axes, zips)]
    zipped = {place: group for group in groups for place in group}
    # A zip stands where its first axis stands.
    dimensions = [zipped.get(place, [place]) for place in range(len(axes)) if zipped.get(place, [place])[0] == place]
    for chosen in itertools.product(*(range(len(axes[dimension[0]].values)) for dimension in dimensions)):
        found = dict.fromkeys(range(len(axes)), 0)
        for dimension, index in zip(dimensions, chosen, strict=True):
            found |= dict.fromkeys(dimension, index)
        yield tuple(found.values())


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
                raise UsageError(f"{shown}: {key} has not several values. {allowed}")
            if any(key in other for other in checked) or list(keys).count(key) > 1:
                raise UsageError(f"{shown}: {key} is zipped twice.")
        if len(keys) < 2:
            raise UsageError(f"{shown}: takes at least two keys that vary together.")
        lengths = {key: len(swept[key].values) for key in keys}
        if len(set(lengths.values())) > 1:
            given = ", ".join(f"{key} has {length}" for key, length in lengths.items())
            raise UsageError(f"{shown}: needs as many values of each; {given}.")
        checked.append(sorted(keys, key=order.index))
    return checked
