"""What a field of the configuration accepts, in words, from its JSON schema."""

from typing import Any

from pydantic import TypeAdapter

NOUNS = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}
BOUNDS = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
# The largest integers of 32 and 64 bits are bounds that tell a reader nothing.
SAYS_NOTHING = 2**31 - 1


def allowed(hint: Any) -> dict[str, str]:
    """What each dotted key below a configuration type accepts."""
    schema = TypeAdapter(hint).json_schema()
    return dict(_keys(schema, schema.get("$defs", {}), ""))


def of_type(hint: Any) -> str:
    """What a value of a type may be."""
    schema = TypeAdapter(hint).json_schema()
    return _words(schema, schema.get("$defs", {}))


def _keys(schema: dict[str, Any], definitions: dict[str, Any], above: str) -> list[tuple[str, str]]:
    found = []
    for name, part in _resolved(schema, definitions).get("properties", {}).items():
        inner = _resolved(part, definitions)
        if "properties" in inner:
            found += _keys(inner, definitions, f"{above}{name}.")
        else:
            found.append((f"{above}{name}", _words(part, definitions)))
    return found


def _resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref", "")
    resolved: dict[str, Any] = definitions[reference.rpartition("/")[2]] if reference else schema
    return resolved


def _words(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    schema = _resolved(schema, definitions)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_words(part, definitions) for part in schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of ({_words(schema['items'], definitions)})"
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        return f"mapping to ({_words(values, definitions)})" if isinstance(values, dict) and values else "mapping"
    bounds = [f"{sign} {schema[key]:g}" for key, sign in BOUNDS.items() if schema.get(key, SAYS_NOTHING) < SAYS_NOTHING]
    return " ".join([NOUNS.get(schema.get("type", ""), "any value"), ", ".join(bounds)]).strip()
