"""The fields of the configuration in which a grid's arms differ."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ablate.lessons.lesson import Lesson

# Every arm has several.
SEED_FIELDS = ("init_seed", "data_seed")


def differing_fields(lesson: Lesson) -> list[list[str]]:
    """A table with a header row. Arms are its columns where more fields differ than there are arms, else its rows.

    An arm none of whose trials has started shows only its options and tasks, and makes no other field differ.
    """
    fields: dict[str, dict[str, str]] = {}
    started = set()
    for arm in lesson.results.arms:
        records = [lesson.results.records[trial] for trial in arm.trials.values()]
        semantic: Mapping[str, Any] = next((record.semantic for record in records if record.semantic), {})
        if semantic:
            started.add(arm.label)
        tasks = {f"tasks.{task}": f"{probability:.0%}" for task, probability in arm.tasks.items()}
        # An option is the user's word for what the fields below it spell out.
        fields[arm.label] = {**dict(_leaves(semantic)), **tasks, **arm.options}
    options = {key for arm in lesson.results.arms for key in arm.options}
    keys = dict.fromkeys(key for of_arm in fields.values() for key in of_arm)
    rows = []

    def place(key: str) -> tuple[bool, bool, str]:
        is_task = key.startswith("tasks.")
        return key not in options, not is_task, key if is_task else ""

    for key in sorted(keys, key=place):
        values = {arm: of_arm.get(key, "") for arm, of_arm in fields.items() if key in of_arm or arm in started}
        if key not in SEED_FIELDS and len(set(values.values())) > 1:
            rows.append([key, *(values.get(arm, "") for arm in fields)])
    if not rows:
        return []
    if len(rows) >= len(fields):
        return [["field", *fields], *rows]
    return [list(column) for column in zip(["arm", *fields], *rows, strict=True)]


def _leaves(container: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted key and the text of each leaf."""
    for key, value in container.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        elif prefix + key == "objective" and _is_canonical(value, 4):
            yield from _objective_leaves(value)
        elif prefix + key == "infill" and _is_canonical([value], 5):
            yield from _leaves(dict(zip(("format", "rate", "level", "scope"), value, strict=False)), "infill.")
            yield from _leaves(value[4], "infill.")
        elif prefix + key == "infill" and value is None:
            yield "infill.format", "none"
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _is_canonical(parts: Any, length: int) -> bool:
    """Whether these are the parts of an objective or an infill format as trial ids spell them (see identity.py)."""
    return isinstance(parts, Sequence) and all(isinstance(part, Sequence) and len(part) >= length for part in parts)


def _objective_leaves(objective: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Yield the mode and the parameters of each task; a task that is there twice has a number."""
    names = [str(name) for name, *_ in objective]
    for place, (name, _, mode, parameters, *_) in enumerate(objective):
        number = f"[{names[:place].count(name) + 1}]" if names.count(name) > 1 else ""
        yield from _leaves({"mode": mode} if mode is not None else {}, f"tasks.{name}{number}.")
        yield from _leaves(parameters, f"tasks.{name}{number}.")
