"""What verbs print with --json; docs/reference/json.md documents it."""

from typing import Any


def print_json(content: Any) -> None:
    """Print typed content as JSON: each field is there, null where it has no value or is not finite."""
    print(adapter(type(content)).dump_json(content, indent=1).decode())


def adapter(cls: Any) -> Any:
    """Return pydantic's adapter of a type."""
    # Takes a third of a second, which verbs without --json do not need.
    from pydantic import TypeAdapter

    return TypeAdapter(cls)
