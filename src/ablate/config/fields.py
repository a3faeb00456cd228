"""The types of single fields: marks, numbers, names, and parameters that belong to a named component."""

import re
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field


class Kind(Enum):
    """The kind of a field; fields without a mark are semantic."""

    OPERATIONAL = "operational"
    EVALUATION = "evaluation"


OPERATIONAL = Kind.OPERATIONAL
EVALUATION = Kind.EVALUATION


UNITS = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9}
COUNT = "should be a whole number, as 20000, 20k, 1.5M or 2B"


def _whole(value: object) -> object:
    """Accept 1e6, which YAML reads as a float, and 20k, 1.5M and 2B; other text and fractions raise ValueError."""
    if isinstance(value, str):
        match = re.fullmatch(r"(\d[\d_]*(?:\.\d+)?) ?([kMB]?)", value)
        number = Decimal(match[1].replace("_", "")) * UNITS[match[2]] if match else Decimal("0.5")
        if number % 1:
            raise ValueError(COUNT)
        return int(number)
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(COUNT)
    return int(value) if isinstance(value, float) else value


def _text(value: object) -> object:
    """Accept a number, as YAML reads the label 0.001."""
    return f"{value}" if isinstance(value, int | float) and not isinstance(value, bool) else value


def _date(value: str) -> str:
    """Accept a day as 2026-11-29; other text raises ValueError."""
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise ValueError("should be a date, as 2026-11-29") from None


Count = Annotated[int, Field(gt=0), BeforeValidator(_whole)]
CountOrZero = Annotated[int, Field(ge=0), BeforeValidator(_whole)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Label = Annotated[str, BeforeValidator(_text)]
Date = Annotated[str, AfterValidator(_date)]
Name = Annotated[str, Field(min_length=1)]
# Part of file names.
SourceName = Annotated[str, Field(pattern="^[A-Za-z0-9_-]+$")]

# Unknown keys and wrong types are rejected, not dropped or converted. Most commands validate few of the types, so each
# is built when it is first used.
STRICT = ConfigDict(extra="forbid", strict=True, defer_build=True)


def fold(*own_keys: str) -> Any:
    """Move the keys of a named component's parameters below `parameters`."""
    own = {*own_keys, "parameters"}

    def fold(value: object) -> object:
        if not isinstance(value, dict) or "parameters" in value:
            return value
        known = {key: item for key, item in value.items() if key in own}
        return {**known, "parameters": {key: item for key, item in value.items() if key not in own}}

    return BeforeValidator(fold)
