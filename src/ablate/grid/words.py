"""Overrides whose value is text, quoted where Hydra would read a number or nothing: ids, labels, names, paths.

`init_from=22292e012950` is a trial, `corpus.sources.text.files.path=2024` a folder, `runs_dir=/a=b` another one.
"""

from collections.abc import Hashable, Iterable
from dataclasses import fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hydra.errors import HydraException

from ablate.config.grid import GridConfig
from ablate.config.quoting import quoted
from ablate.config.trial import TrialConfig
from ablate.config.tuning import TuningConfig

# Keys of the whole grid, so a comma in their value separates nothing; as in those below `lesson`.
WHOLE = ("runs_dir", "cache_dir")
# A value with one of these may be a list, a mapping, a function or an interpolation.
_STRUCTURE = frozenset("'\"[]{}()$")


def with_quoted_text(words: Iterable[str]) -> list[str]:
    """Return command-line words in which values of text keys are quoted if Hydra would not read them as text."""
    return [_with_quoted_text(word) for word in words]


def _with_quoted_text(word: str) -> str:
    prefixed, equals, value = word.partition("=")
    key = prefixed.lstrip("+")
    if not equals or not value or word.startswith("-") or not is_text(key):
        return word
    if key in WHOLE or key.startswith("lesson.") or _STRUCTURE & set(value):
        is_left = _is_read_as_text(value) or (bool(_STRUCTURE & set(value)) and _is_readable(value))
        return word if is_left else f"{prefixed}={quoted(value)}"
    parts = value.split(",")
    # An escaped comma, or a comma too many.
    if not all(parts) or any(part.endswith("\\") for part in parts):
        return word
    return f"{prefixed}={','.join(part if _is_read_as_text(part) else quoted(part) for part in parts)}"


def _is_readable(value: str) -> bool:
    try:
        OverridesParser.create().parse_override(f"key={value}")
    except HydraException:
        return False
    return True


def _is_read_as_text(value: str) -> bool:
    if not _is_readable(value):
        return False
    read = OverridesParser.create().parse_override(f"key={value}").value()
    return read is None or isinstance(read, str | QuotedString)


def is_text(key: str) -> bool:
    """Whether the value of a dotted key of the configuration is text."""
    if key.startswith("hydra.sweeper."):
        return key.removeprefix("hydra.sweeper.") in _texts_of(TuningConfig)
    if key.startswith("corpus.sources."):
        # corpus.sources.SOURCE.LABEL.PARAMETER
        return key.count(".") == 4 and key.rpartition(".")[2] in _texts_of_readers()
    if key.startswith("evaluation.suites."):
        # evaluation.suites.NAME.PARAMETER
        return key.count(".") == 3 and key.rpartition(".")[2] == "file"
    *above, last = key.split(".")
    owner: Any = GridConfig if above[:1] == ["lesson"] else TrialConfig
    for name in above:
        owner = get_type_hints(owner).get(name) if is_dataclass(owner) else None
    return key == "runs_dir" or (is_dataclass(owner) and last in _texts_of(cast("Hashable", owner)))


@cache
def _texts_of(owner: Any) -> frozenset[str]:
    hints = get_type_hints(owner)
    # A mapping's arguments are no alternatives, as those of `str | None` are.
    alternatives = {
        name: get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,) for name, hint in hints.items()
    }
    return frozenset(field.name for field in fields(owner) if str in alternatives[field.name])


@cache
def _texts_of_readers() -> frozenset[str]:
    # Few commands set a reader's parameter, and the import costs 60 ms.
    from ablate.data.corpus.readers import READERS

    return frozenset[str]().union(*(_texts_of(cast("Hashable", reader)) for reader in READERS.values()))
