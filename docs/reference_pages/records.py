"""The records of the ledger, from their dataclasses."""

import dataclasses
import inspect
import re
from enum import StrEnum
from typing import Any, get_args, get_type_hints

from ablate.records import ledger
from ablate.records.grid import GridRecord
from ablate.records.schema import FORMAT
from ablate.records.trial import TrialRecord
from ablate.records.tuning import TuningRecord
from reference_pages.markdown import GENERATED, attributes, code, summary, table

TOP = (TrialRecord, GridRecord, TuningRecord)


def page() -> str:
    """The page."""
    layout = (inspect.getdoc(ledger) or "").partition("\n\n")[2]
    introduction = f"""# Records

{GENERATED}

The ledger is the folder `runs_dir`:

```text
{layout}
```

A record is a JSON file with `format: {FORMAT}` and a key per field below. Optional fields that are null, false or
empty are left out. Unknown keys at the top level are kept when a record is rewritten. Times are seconds since 1970."""
    return "\n\n".join([introduction, *map(_section, _reachable())])


def _reachable() -> list[type]:
    """The records, each followed by the types that it holds and that no record before it held."""
    found: dict[type, None] = {}

    def visit(record: type) -> None:
        if record not in found:
            found[record] = None
            for hint in _hints(record).values():
                for inner in _dataclasses_in(hint):
                    visit(inner)

    for record in TOP:
        visit(record)
    return list(found)


def _hints(record: type) -> dict[str, Any]:
    hints = get_type_hints(record)
    return {field.name: hints[field.name] for field in dataclasses.fields(record) if field.name != "extra"}


def _dataclasses_in(hint: Any) -> list[type]:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return [hint]
    return [inner for argument in get_args(hint) for inner in _dataclasses_in(argument)]


def _section(record: type) -> str:
    meanings = attributes(record)
    optional = {
        field.name
        for field in dataclasses.fields(record)
        if field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    }
    rows = [
        (code(name), _type(hint), "" if name in optional else "yes", meanings.get(name, ""))
        for name, hint in _hints(record).items()
    ]
    level = "##" if record in TOP else "###"
    return "\n\n".join(
        [f"{level} {record.__name__}", summary(record), table(["field", "type", "required", "meaning"], rows)]
    )


def _type(hint: Any) -> str:
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return ", ".join(map(code, hint))
    text = hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
    text = re.sub(r"[a-z_]+(\.[a-z_]+)*\.(?=[A-Z])", "", text).replace("Mapping", "mapping").replace(", ...", ", …")
    return code(text)
