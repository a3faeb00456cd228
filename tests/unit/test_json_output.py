"""What --json prints is what the committed JSON Schema says, and so what programs can rely on."""

import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ablate.config.parse import trial_to_container
from ablate.identity import semantic, trial_id
from ablate.records.ledger import Ledger
from ablate.records.trial import Status, TrialRecord
from ablate.verbs.json_schema import json_schema
from tests.support.in_process import run_in_process
from tests.support.ledgers import ledger_of, make_grid
from tests.support.trials import MakeTrial

SCHEMAS = Path(__file__).parents[2] / "docs" / "reference" / "json"


@pytest.mark.parametrize("verb", ["lessons", "status", "diff", "plan"])
def test_the_committed_schema_is_that_of_the_types(verb: str) -> None:
    committed = json.loads((SCHEMAS / f"{verb}.json").read_text())
    write = "python -m ablate.verbs.json_schema writes it; raise the version unless fields were only added"
    assert committed == json_schema(verb), write


def printed(folder: Path, *words: str, code: int = 0) -> Any:
    """What a verb prints with --json, checked against its committed schema."""
    done = run_in_process(folder, *words, "--json", "runs_dir=runs")
    assert done.returncode == code, done.stderr
    content = json.loads(done.stdout, parse_constant=pytest.fail)
    schema = json.loads((SCHEMAS / f"{words[0]}.json").read_text())
    jsonschema.validate(content, _closed(schema))
    assert content["schema"] == f"ablate/{words[0]}"
    assert content["version"] == 1
    return content


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with unknown keys forbidden: a field that is printed is a field that is documented."""
    for part in (schema, *schema.get("$defs", {}).values()):
        if "properties" in part:
            part["additionalProperties"] = False
            assert set(part["required"]) == set(part["properties"]), "each field is printed"
    return schema


def test_a_lesson_s_verdicts_are_there_with_their_numbers(tmp_path: Path) -> None:
    results, trials = make_grid(tmp_path, {"causal": 0.0, "mixed": 0.5, "prefix": 0.0}, name="my_lesson")
    [lesson] = printed(tmp_path, "lessons", "my_lesson")["lessons"]
    assert lesson["name"] == "my_lesson"
    assert lesson["is_complete"]
    assert lesson["no_lesson"] is None
    by_name = {row["contrast"]: row for row in lesson["comparisons"] if row["metric"] == "bpb_full"}
    assert by_name["mixed"]["verdict"] == "worse"
    assert by_name["mixed"]["weights"] == {"mixed": 1.0, "causal": -1.0}
    assert by_name["mixed"]["low"] < by_name["mixed"]["difference"] < by_name["mixed"]["high"]
    assert by_name["prefix"]["verdict"] == "equivalent"
    explored = [row["verdict"] for row in lesson["comparisons"] if row["metric"] == "bpb_full/code"]
    assert explored == [None, None]
    [mixed] = [arm for arm in lesson["arms"] if arm["label"] == "mixed"]
    assert mixed["trials"] == trials["mixed"]
    assert mixed["means"]["bpb_full"] == pytest.approx(2.6, abs=0.01)
    assert lesson["notes"]
    files = {path.name for path in ledger_of(results).lesson_folder(results.grid_id).parent.iterdir()}
    assert files == {f"{results.grid_id}.json"}, "nothing is written"


def test_a_grid_without_a_lesson_says_why(tmp_path: Path) -> None:
    results, trials = make_grid(tmp_path, {"causal": 0.0, "mixed": 0.5})
    for trial in trials["mixed"].values():
        ledger_of(results).trial(trial).update(status=Status.PENDING, evaluations={})
    for trial in trials["causal"].values():
        ledger_of(results).trial(trial).update(status=Status.DIVERGED, evaluations={})
    [lesson] = printed(tmp_path, "lessons", code=1)["lessons"]
    assert "The baseline causal diverged: 3/3" in lesson["no_lesson"]
    assert not lesson["is_complete"]
    assert not lesson["is_decided"]
    assert [arm["diverged"] for arm in lesson["arms"]] == ["3/3", None]
    assert [arm["missing"] for arm in lesson["arms"]] == [None, "0/3"]


def test_status_and_diff_print_what_their_schema_says(tmp_path: Path, make_trial: MakeTrial) -> None:
    ledger = Ledger(tmp_path / "runs")
    for overrides in (["seed=0"], ["seed=1", "hardware.threads_per_trial=3"]):
        trial = make_trial(*overrides)
        record = TrialRecord(trial_id(trial), semantic=semantic(trial), evaluations={"eval": {"bpb": math.inf}})
        ledger.freeze(record, trial_to_container(trial))
    first, second = (folder.trial_id for folder in ledger.trials())
    trials = {trial["trial_id"]: trial for trial in printed(tmp_path, "status")["trials"]}
    assert set(trials) == {first, second}
    assert trials[first]["status"] == "pending"
    assert trials[first]["scores"] == {"eval": {"bpb": None}}, "a score that is not finite"
    differences = printed(tmp_path, "diff", first, second)["differences"]
    sections = {row["key"]: row["section"] for row in differences}
    assert sections["init_seed"] == "id"
    assert sections["hardware.threads_per_trial"] == "operational"
