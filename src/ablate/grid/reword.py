"""Hydra's errors in our words: what was given, what is allowed, what to type instead."""

import re
import shlex
from collections.abc import Sequence

from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf.errors import MissingMandatoryValue

from ablate.config.options import choices_of, groups
from ablate.config.quoting import with_quotes
from ablate.errors import nearest
from ablate.grid.unknown_key import suggestion, unknown_choice, unknown_key


def reworded(error: Exception, words: Sequence[str]) -> str:
    """Return the message for an error that Hydra raised for these overrides."""
    text = str(error).strip()
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return unknown_choice(group, choice, error.options or ())
    if isinstance(error, OverrideParseException):
        return unparsed(error.override or "", text)
    if isinstance(error, ConfigCompositionException) and (match := re.match(r"Could not override '([^']+)'", text)):
        # OmegaConf names a part of the key, or one inside of a mapping.
        full_key = getattr(error.__cause__, "full_key", None) or ""
        return unknown_key(full_key if full_key.startswith(match[1]) else match[1], words)
    if match := re.match(r"Multiple values for (\S+?)\.", text):
        return f"+{match[1]}: the group has a choice already. Leave the + out: {match[1]}=CHOICE"
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key}: has no default; give it on the command line: {error.full_key}=…"
    if text.startswith("Config group override must be"):
        return "\n".join(_not_a_choice(word) for word in words if _is_group(word) and not _is_name(word)) or text
    removed = [word for word in words if word.startswith("~")]
    if removed and re.match("Could not delete|Interpolation key", text):
        return f"{', '.join(removed)}: a key that trials need, or one that has no value here. Leave it out."
    if match := re.match(r"Interpolation key '([^']+)' not found", text):
        word = next((word for word in words if f"${{{match[1]}}}" in word), match[1])
        return f"{word}: refers to an unknown key. {suggestion(match[1], words)}"
    first_line_only = r"Could not find match for|No match in the defaults list"
    return text.splitlines()[0] if re.search(first_line_only, text) else text


def unparsed(word: str, problem: str) -> str:
    """Return the message for a word that Hydra's grammar rejects."""
    key, _, value = word.partition("=")
    if match := re.search(r"Unknown function '(\w+)'\s+Available: (\S+)", problem):
        return (
            f"{word}: {match[1]} is no function. {nearest(match[1], match[2].split(','))} If this is text, quote it: "
            + (with_quotes(key, value))
        )
    if not re.fullmatch(r"[+~]*[A-Za-z_][\w.@/]*", key):
        return f"{word}: {key!r} is no key. Options have the form key=value, as objective=prefix."
    if value.startswith("="):
        return f"{word}: has two equals signs. Type {key}={value.lstrip('=')}"
    if value.endswith(","):
        return f"{word}: ends with a comma. Type {shlex.quote(word.rstrip(','))}"
    if value.startswith(("{", "[")):
        reason = problem.splitlines()[0]
        return f"{word}: cannot be read ({reason}). Lists are [a, b], mappings are {{key: value, key: value}}."
    return f"{word}: has characters that need quotes. Type {with_quotes(key, value)}"


def _is_group(word: str) -> bool:
    return word.partition("=")[0].lstrip("+~") in groups()


def _is_name(word: str) -> bool:
    value = word.partition("=")[2]
    return not re.fullmatch(r"[-+.\d_e]*|true|false|null|\{.*\}", value, re.IGNORECASE)


def _not_a_choice(word: str) -> str:
    group, _, value = word.partition("=")
    return f"{word}: no such choice. {nearest(value, choices_of(group.lstrip('+~')))}"
