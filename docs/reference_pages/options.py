"""The options: config groups with their choices and keys, and the keys of trials, grids and tunings."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, get_args, get_type_hints

import ablate.evaluation  # noqa: F401  registers the suites
from ablate import CONF
from ablate.config.fields import EVALUATION, OPERATIONAL
from ablate.config.grid import GridConfig, LessonConfig
from ablate.config.options import choices_of, groups
from ablate.config.trial import TrialConfig
from ablate.config.tuning import DimensionConfig, TuningConfig
from ablate.data.corpus.readers import READERS
from ablate.evaluation.suite import SUITES
from ablate.objectives.infill import FORMATS
from ablate.objectives.noise import NOISES
from ablate.objectives.tasks import TASKS
from reference_pages.markdown import GENERATED, code, summary, table
from reference_pages.types import allowed, of_type
from reference_pages.yaml_files import Entry, entries, header

INTRODUCTION = f"""# Options

{GENERATED}

Every option of a trial, a grid and a tuning, with its default. A *group* is set by a choice (`objective=prefix`), a
*key* by a value (`optimizer.learning_rate=1e-3`). With `-m`, several values make arms. `python -m ablate --cfg job`
prints what a command composes.

A *semantic* key changes a trial's result and is part of its id. An *operational* key says where and how a trial runs. A
key of *evaluation* is part of the ids of suites."""


def page() -> str:
    """The page."""
    parts = [INTRODUCTION, "## Groups", *map(_group, _groups_of_values())]
    parts += ["### sweeps", "Search spaces; see [tuning](../how-to/tuning.md).", _choices("sweeps")]
    parts += ["### experiment", "Whole studies: they override the values above.", _choices("experiment")]
    parts += ["### hydra/launcher", "Where the trials of a command run.", _choices("hydra/launcher")]
    parts += ["## Keys outside groups", _root_keys()]
    parts += ["## Tuning", summary(TuningConfig), _sweeper_keys()]
    parts += ["### A dimension of the space", summary(DimensionConfig), _fields(DimensionConfig)]
    parts += ["## Components", "What `objective`, `infill` and `corpus` name in YAML, with the parameters of each."]
    for title, registry in (("Tasks", TASKS), ("Noises", NOISES), ("Infill formats", FORMATS)):
        parts += [f"### {title}", _components({name: registry[name].function for name in registry})]
    parts += ["### Readers", _components(dict(READERS))]
    return "\n\n".join(parts)


def _groups_of_values() -> list[str]:
    return [group for group in groups() if group not in ("sweeps", "experiment")]


def _group(group: str) -> str:
    hint = get_type_hints(TrialConfig, include_extras=True)[group]
    kind = next((mark.value for mark in get_args(hint) if mark in (OPERATIONAL, EVALUATION)), "semantic")
    config = get_type_hints(TrialConfig)[group]
    accepted = _suite_parameters() if group == "evaluation" else allowed(config)
    rows = [_key_row(f"{group}.{entry.key}", entry, accepted.get(entry.key, "")) for entry in _keys_of(group)]
    parts = [f"### {group}", f"*{kind.capitalize()}.* {summary(config)}", _choices(group)]
    return "\n\n".join([*parts, table(["key", "default", "allowed", "meaning"], rows)] if rows else parts)


def _keys_of(group: str) -> Iterator[Entry]:
    """The keys of a group's default choices."""
    for choice in _defaults(group):
        yield from entries(CONF / group / f"{choice}.yaml")


def _defaults(group: str) -> list[str]:
    names = choices_of(group)
    return names if group == "evaluation" else names[:1]


def _choices(group: str) -> str:
    paths = [CONF / group / f"{name}.yaml" for name in choices_of(group)]
    return table([f"{group}=", "is"], [(code(path.stem), header(path)) for path in paths])


def _key_row(key: str, entry: Entry, accepted: str) -> tuple[str, str, str, str]:
    return code(key), code(entry.value), accepted, entry.comment


def _root_keys() -> str:
    accepted = {**allowed(TrialConfig), **allowed(GridConfig)}
    rows = [_key_row(entry.key, entry, accepted.get(entry.key, "")) for entry in entries(CONF / "config.yaml")]
    lesson = f"`lesson`: {summary(LessonConfig)}"
    return "\n\n".join([table(["key", "default", "allowed", "meaning"], rows), lesson])


def _sweeper_keys() -> str:
    accepted = allowed(TuningConfig)
    own = {"exclude", "params", "zip", *(field.name for field in fields(TuningConfig))}
    found = entries(CONF / "hydra" / "sweeper" / "ablate.yaml")
    rows = [
        _key_row(f"hydra.sweeper.{entry.key}", entry, accepted.get(entry.key, ""))
        for entry in found
        if entry.key.split(".")[0] in own
    ]
    return table(["key", "default", "allowed", "meaning"], rows)


def _fields(config: Any) -> str:
    return table(["key", "allowed"], [(code(key), accepted) for key, accepted in allowed(config).items()])


def _components(components: dict[str, Callable[..., Any]]) -> str:
    rows = []
    for name, function in components.items():
        parameters = "; ".join(f"{code(key)}: {accepted}" for key, accepted in _parameters(function).items())
        rows.append((code(name), summary(function).split("\n\n")[0], parameters))
    return table(["name", "does", "parameters"], rows)


def _suite_parameters() -> dict[str, str]:
    return {
        f"suites.{name}.{key}": accepted
        for name in SUITES
        for key, accepted in _parameters(SUITES[name].function).items()
    }


def _parameters(function: Callable[..., Any]) -> dict[str, str]:
    """What each keyword-only parameter accepts."""
    # Only these: a suite's other annotations name types that are imported for type checking alone.
    hints = inspect.get_annotations(function, eval_str=False) if inspect.isfunction(function) else {}
    hints = hints or get_type_hints(function.__init__ if inspect.isclass(function) else function, include_extras=True)
    return {
        parameter.name: of_type(hints[parameter.name])
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
