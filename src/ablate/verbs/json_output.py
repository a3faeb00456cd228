"""What verbs print with --json, and its JSON Schema. docs/reference/json.md documents both."""

from typing import Any


def print_json(content: Any) -> None:
    """Print typed content as JSON: each field is there, null where it has no value or is not finite."""
    print(_adapter(type(content)).dump_json(content, indent=1).decode())


def json_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of what each verb prints with --json, by verb."""
    from ablate.reports.lesson_json import LessonsJson
    from ablate.verbs.diff import DiffJson
    from ablate.verbs.status import StatusJson

    types = {"lessons": LessonsJson, "status": StatusJson, "diff": DiffJson}
    return {verb: _adapter(cls).json_schema(mode="serialization") for verb, cls in types.items()}


def _adapter(cls: Any) -> Any:
    # Takes a third of a second, which verbs without --json do not need.
    from pydantic import TypeAdapter

    return TypeAdapter(cls)
