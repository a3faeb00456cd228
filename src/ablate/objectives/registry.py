"""Components by name: ours, and those of installed packages.

A package adds its own by an entry point of the group `ablate.components` that names a module; the module is imported
when a name is first looked up, and registers what it has by the same decorators as ours. A configuration can't name
code to run; only what is installed can be named.
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
        name: of the function, and in YAML.
        function: pure; its keyword-only parameters, with their types, are what YAML sets.
        code_version: bumped when the function's numbers change; part of the trial id.
        problem: what is wrong with parameters that are each fine, or None.
    """

    name: str
    function: Callable[..., Any]
    code_version: int
    problem: Callable[[Parameters], str | None]


C = TypeVar("C", bound=Component)


class Registry(Mapping[str, C], Generic[C]):
    """Components of one kind.

    Args:
        noun: what one is called in messages.
    """

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self._components: dict[str, C] = {}

    def add(self, component: C) -> None:
        """Registers a component. Raises FailureError where its name is taken."""
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

    def checked(self, name: str, given: Parameters, where: str, key: str) -> tuple[C, dict[str, Any]]:
        """A component and its typed parameters.

        Args:
            name: as the configuration has it.
            given: its parameters as the configuration has them.
            where: the key that the parameters stand below.
            key: the key below `where` that holds the name.

        Raises:
            UsageError: no such component, or parameters that it can't take.
        """
        if name not in self:
            raise UsageError(f"{where}.{key}={name}: no such {self.noun}. {nearest(name, self)}")
        component = self[name]
        parameters = checked_parameters(component.function, given, where)
        if problem := component.problem(parameters):
            raise UsageError(f"{where}: {problem}.")
        return component, parameters


def plugin_packages() -> list[str]:
    """The installed packages that name components."""
    return sorted({entry.dist.name for entry in importlib.metadata.entry_points(group=ENTRY_POINTS) if entry.dist})


@cache
def load_plugins() -> None:
    """Imports what installed packages register. Raises FailureError for one that can't be imported."""
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:
            package = entry.dist.name if entry.dist else "a package"
            raise FailureError(
                f"The components of {package} ({entry.value}) can't be imported: {type(error).__name__}: {error}. "
                f"Mend it, or: pip uninstall {package}"
            ) from error


def no_problem(parameters: Parameters) -> str | None:
    """What most components have to say of their parameters."""
    return None


def disordered(parameters: Parameters, *names: str) -> str | None:
    """Says so where `<name>_min…` exceeds `<name>_max…`."""
    for low, high in ((name, name.replace("_min", "_max")) for name in names):
        if parameters[low] > parameters[high]:
            return f"{low}={parameters[low]} is above {high}={parameters[high]}"
    return None
