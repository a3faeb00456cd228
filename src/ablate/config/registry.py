"""Registries of components by name: ours, and those of installed packages.

A package adds components by an entry point of the group `ablate.components` that names a module. The module is
imported when a name is first looked up, and registers its functions by the same decorators as ours. A configuration
names installed components; it cannot name code to run.
"""

import importlib.metadata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from ablate.config.parse import checked_parameters
from ablate.errors import FailureError, UsageError, nearest

ENTRY_POINTS = "ablate.components"

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Component:
    """A registered function.

    Attributes:
        name: the function's name, used in YAML.
        function: a pure function whose keyword-only parameters, with their types, are what YAML sets.
        code_version: part of the trial id; raised when the function's results change.
        problem: returns what is wrong with parameters that are valid one by one, or None.
    """

    name: str
    function: Callable[..., Any]
    code_version: int
    problem: Callable[[Parameters], str | None]


C = TypeVar("C", bound=Component)


class Registry(Mapping[str, C], Generic[C]):
    """Components of one kind; `noun` is what messages call one."""

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self._components: dict[str, C] = {}

    def add(self, component: C) -> None:
        """Register a component. Raises FailureError if its name is taken."""
        if component.name in self._components:
            raise FailureError(
                f"The {self.noun} {component.name} is registered twice, the second time by "
                f"{component.function.__module__}. Rename the function there."
            )
        self._components[component.name] = component

    def __getitem__(self, name: str) -> C:
        load_plugins()
        return self._components[name]

    def __iter__(self) -> Iterator[str]:
        load_plugins()
        return iter(self._components)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def checked(self, name: str, parameters: Parameters, where: str, key: str) -> tuple[C, dict[str, Any]]:
        """Look up a component and check its parameters against its signature.

        Args:
            name: as configured.
            parameters: as configured.
            where: the configuration key above the parameters.
            key: the key below `where` that holds the name.

        Raises:
            UsageError: no such component, or parameters that it does not take.
        """
        if name not in self:
            raise UsageError(f"{where}.{key}={name}: no such {self.noun}. {nearest(name, self)}")
        component = self[name]
        typed = checked_parameters(component.function, parameters, where)
        if problem := component.problem(typed):
            raise UsageError(f"{where}: {problem}.")
        return component, typed


def plugin_packages() -> list[str]:
    """List the installed packages that register components."""
    return sorted({entry.dist.name for entry in importlib.metadata.entry_points(group=ENTRY_POINTS) if entry.dist})


@cache
def load_plugins() -> None:
    """Import the modules that installed packages name. Raises FailureError if one cannot be imported."""
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:
            package = entry.dist.name if entry.dist else "a package"
            raise FailureError(
                f"The components of {package} ({entry.value}) cannot be imported: {type(error).__name__}: {error}. "
                f"Fix the package, or type: pip uninstall {package}"
            ) from error


def no_problem(parameters: Parameters) -> str | None:
    """Return None: the default of components whose parameters are independent of each other."""
    return None


def min_above_max(parameters: Parameters, *names: str) -> str | None:
    """Return a message where `<name>_min…` exceeds `<name>_max…`."""
    for low, high in ((name, name.replace("_min", "_max")) for name in names):
        if parameters[low] > parameters[high]:
            return f"{low}={parameters[low]} is above {high}={parameters[high]}"
    return None
