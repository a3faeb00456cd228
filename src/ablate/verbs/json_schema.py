"""The JSON Schema of what verbs print with --json, as docs/reference/json/ has it."""

import json
from pathlib import Path
from typing import Any

from ablate.reports.lesson_json import LessonsJson
from ablate.verbs.diff import DiffJson
from ablate.verbs.json_output import adapter
from ablate.verbs.plan_json import PlanJson
from ablate.verbs.status import StatusJson

TYPES: dict[str, Any] = {"lessons": LessonsJson, "status": StatusJson, "diff": DiffJson, "plan": PlanJson}


def json_schema(verb: str) -> dict[str, Any]:
    """Return the JSON Schema of what a verb prints."""
    schema: dict[str, Any] = adapter(TYPES[verb]).json_schema(mode="serialization")
    return schema


def write_schemas(folder: Path) -> None:
    """Write VERB.json for each verb: `python -m ablate.verbs.json_schema` in a checkout."""
    for verb in TYPES:
        text = json.dumps(json_schema(verb), indent=1, ensure_ascii=False)
        (folder / f"{verb}.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    write_schemas(Path("docs/reference/json"))
