"""The types of single fields: marks, numbers, names, and parameters that belong to a named component."""

from enum import Enum
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field


class Kind(Enum):
    """What a field is for; semantic is what carries no mark."""

    OPERATIONAL = "operational"
    EVALUATION = "evaluation"


OPERATIONAL = Kind.OPERATIONAL
EVALUATION = Kind.EVALUATION


def _whole(value: object) -> object:
    """1e6 is a whole number in everyone's notation but a float in YAML's."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Count = Annotated[int, BeforeValidator(_whole), Field(gt=0)]
CountOrZero = Annotated[int, BeforeValidator(_whole), Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(min_length=1)]
# A part of names of files.
SourceName = Annotated[str, Field(pattern="^[A-Za-z0-9_-]+$")]

# Unknown keys and wrong types are refused, not dropped or bent.
STRICT = ConfigDict(extra="forbid", strict=True)


def fold(*own_keys: str) -> Any:
    """Collects the keys that belong to a named component, not to us, under `parameters`."""
    own = {*own_keys, "parameters"}

    def fold(value: object) -> object:
        if not isinstance(value, dict) or "parameters" in value:
            return value
        known = {key: item for key, item in value.items() if key in own}
        return {**known, "parameters": {key: item for key, item in value.items() if key not in own}}

    return BeforeValidator(fold)
