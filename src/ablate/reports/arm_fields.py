"""The fields of the configuration in which a grid's arms differ."""

import json
from collections.abc import Mapping
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
    swept = {key for arm in lesson.results.arms for key in arm.options}
    for arm in lesson.results.arms:
        records = [lesson.results.records[trial] for trial in arm.trials.values()]
        semantic: Mapping[str, Any] = next((record.semantic for record in records if record.semantic), {})
        if semantic:
            started.add(arm.label)
        tasks = ", ".join(f"{probability:.0%} {task}" for task, probability in arm.tasks.items())
        canonical = {f"{key}, in full" if key in swept else key: value for key, value in _leaves(semantic).items()}
        fields[arm.label] = {**arm.options, "tasks": tasks, **canonical}
    rows = []
    for key in dict.fromkeys(key for of_arm in fields.values() for key in of_arm if key not in SEED_FIELDS):
        values = {arm: of_arm.get(key, "") for arm, of_arm in fields.items() if key in of_arm or arm in started}
        if len(set(values.values())) > 1:
            rows.append([key, *(values.get(arm, "") for arm in fields)])
    if not rows:
        return []
    if len(rows) >= len(fields):
        return [["field", *fields], *rows]
    return [list(column) for column in zip(["arm", *fields], *rows, strict=True)]


def _leaves(container: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """The leaves as text, by dotted key."""
    leaves: dict[str, str] = {}
    for key, value in container.items():
        if isinstance(value, Mapping) and value:
            leaves |= _leaves(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return leaves
