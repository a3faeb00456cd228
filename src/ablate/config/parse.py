"""Parsing: plain containers to typed configurations and back, with a message per wrong key.

`ablate.config.rules` checks what values must fulfil together.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError, create_model

from ablate.config.fields import COUNT, STRICT
from ablate.config.grid import Composed, GridConfig, LessonConfig
from ablate.config.rules import check_values
from ablate.config.trial import TrialConfig
from ablate.config.tuning import DimensionConfig, TuningConfig
from ablate.errors import UsageError, nearest

T = TypeVar("T")

_TRIAL = TypeAdapter(TrialConfig)
_GRID = TypeAdapter(GridConfig)
_TUNING = TypeAdapter(TuningConfig)
TRIAL_KEYS = frozenset(field.name for field in fields(TrialConfig))
# What pydantic says of types, in the words of a command line.
REASONS = {
    "int_type": COUNT,
    "float_type": "should be a number, as 0.1 or 1e-3",
    "float_parsing": "should be a number, as 0.1 or 1e-3",
    "bool_type": "should be true or false",
    "string_type": "should be text",
    "tuple_type": "should be a list, as [a, b]",
    "list_type": "should be a list, as [a, b]",
    "dict_type": "should be a mapping, as {key: value}",
    "dataclass_type": "should be a mapping, as {key: value}",
    "too_short": "is empty; it needs at least one",
}
GRID_KEYS = frozenset(field.name for field in fields(GridConfig))


def _allowed_keys() -> dict[str, tuple[str, ...]]:
    """List the allowed keys of the root ("") and of each group."""
    groups = {name: hint for name, hint in get_type_hints(TrialConfig).items() if is_dataclass(hint)}
    keys = {name: tuple(field.name for field in fields(group)) for name, group in groups.items()}
    return {"": tuple(sorted(TRIAL_KEYS)), "lesson": tuple(field.name for field in fields(LessonConfig)), **keys}


def usage_error(error: ValidationError, where: str, allowed: Mapping[str, tuple[str, ...]]) -> UsageError:
    """Convert a pydantic error to one line per wrong key: the key, what was given, what is allowed.

    Args:
        error: pydantic's error.
        where: the key above its locations, "" for the root.
        allowed: the allowed keys below a key, to name them where a key is unknown.
    """
    lines = []
    # The first key with a wrong value; others that refer to it have the same.
    keys_with: dict[str, list[str]] = {}
    for problem in error.errors():
        parts = [str(part) for part in problem["loc"] if part not in ("parameters", "str", "int", "float")]
        key = ".".join([where, *parts] if where else parts)
        parent, _, last = key.rpartition(".")
        if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            names = allowed.get(parent, ())
            lines.append(f"{key}: unknown key. " + (nearest(last, names) if names else "Nothing can be set here."))
        elif problem["type"] in ("missing", "missing_argument"):
            lines.append(f"{key}: missing; it needs a value.")
        else:
            value = json.dumps(problem["input"], default=str)
            reason = REASONS.get(problem["type"]) or problem["msg"].removeprefix("Input ").removeprefix("Value error, ")
            if problem["type"] == "string_pattern_mismatch":
                reason = f"should match {problem['ctx']['pattern']}"
            if problem["type"] == "string_type" and isinstance(problem["input"], int | float):
                reason = f"should be text. Quote a number twice: '{key}=\"{value}\"'"
            keys_with.setdefault(f"={value}: {reason}.", []).append(key)
    for text, (first, *others) in keys_with.items():
        lines.append(f"{first}{text}" + (f" ({', '.join(others)} has the same value.)" if others else ""))
    return UsageError("\n".join(lines))


def checked_parameters(function: Callable[..., object], parameters: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check parameters against the types of a function's keyword-only arguments, and return them typed.

    Arguments with a default of their own may be left out.

    Raises:
        UsageError: an unknown, missing or wrong parameter, named below the key `where`.
    """
    model = _parameters_of(function)
    try:
        # As JSON: strict validation of Python values takes no list for a tuple.
        return model.model_validate_json(json.dumps(dict(parameters))).model_dump()
    except ValidationError as error:
        raise usage_error(error, where, {where: tuple(model.model_fields)}) from None


@cache
def _parameters_of(function: Callable[..., object]) -> type[BaseModel]:
    allowed: dict[str, Any] = {
        name: (parameter.annotation, ... if parameter.default is parameter.empty else parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    model: type[BaseModel] = create_model(function.__name__, __config__=STRICT, **allowed)
    return model


def _typed(adapter: TypeAdapter[T], container: Mapping[str, Any]) -> T:
    try:
        # As JSON: strict validation of Python values takes no list for a tuple and no mapping for a dataclass.
        return adapter.validate_json(json.dumps(container))
    except ValidationError as error:
        raise usage_error(error, "", _allowed_keys()) from None


def tuning_from_container(container: Mapping[str, Any]) -> TuningConfig:
    """Parse a tuning. Raises UsageError like `trial_from_container`."""
    try:
        return _TUNING.validate_json(json.dumps(container))
    except ValidationError as error:
        where, dimension_keys = "hydra.sweeper", tuple(field.name for field in fields(DimensionConfig))
        allowed = {f"{where}.space.{key}": dimension_keys for key in container["space"]}
        allowed[where] = tuple(field.name for field in fields(TuningConfig))
        raise usage_error(error, where, allowed) from None


def trial_from_container(container: Mapping[str, Any]) -> TrialConfig:
    """Parse a trial and check its values.

    Raises:
        UsageError: a key that is unknown, missing or of the wrong type, or values that break a rule of `rules`.
    """
    trial = _typed(_TRIAL, container)
    check_values(trial)
    return trial


def trial_to_container(trial: TrialConfig) -> dict[str, Any]:
    """Convert a trial to a plain container; `trial_from_container` inverts this."""
    container = _TRIAL.dump_python(trial, mode="json")
    assert isinstance(container, dict)
    return container


def composed_from_container(container: Mapping[str, Any]) -> Composed:
    """Parse what Hydra composed: the trial and its grid. Raises like `trial_from_container`."""
    grid = _typed(_GRID, {key: container[key] for key in GRID_KEYS if key in container})
    around = GRID_KEYS | {"runs_dir", "seed", "trial_id", "candidate"}
    trial = trial_from_container({key: value for key, value in container.items() if key not in around})
    runs_dir = container.get("runs_dir")
    if not isinstance(runs_dir, str) or not runs_dir:
        raise UsageError(f"runs_dir={json.dumps(runs_dir)}: should be the path of a folder.")
    return Composed(trial, grid, runs_dir)


@cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def plain(config: Any) -> Any:
    """Convert a typed config to plain containers, ready for JSON."""
    cls: Any = type(config)
    return _adapter(cls).dump_python(config, mode="json")
