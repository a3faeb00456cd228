"""Values of overrides, quoted for Hydra's grammar and for the shell."""

import re


def quoted(value: str) -> str:
    """Quote a value for Hydra's override grammar."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def with_quotes(key: str, value: str) -> str:
    """Return an override as a shell takes it, with its value quoted for Hydra too."""
    inner = quoted(value) if '"' in value or value.endswith("\\") else f'"{value}"'
    word = f"{key}={inner}"
    if "'" not in word:
        return f"'{word}'"
    return '"' + re.sub(r'(["\\$`])', r"\\\1", word) + '"'
