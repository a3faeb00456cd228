"""Records to JSON and back: every type, unknown keys, damaged and newer files."""

import json
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ablate.errors import LedgerError, NewerFormatError
from ablate.records.grid import GridRecord
from ablate.records.ledger import Ledger
from ablate.records.schema import FORMAT, SchemaError, from_json, read, to_json, write
from ablate.records.trial import Status, TrialRecord
from ablate.records.tuning import TuningRecord

PROVENANCE = {
    "ablate": "0.1.0",
    "git_commit": "c0ffee",
    "git_diff": "ab.diff",
    "python": "3.11",
    "versions": {"torch": "2.13"},
    "host": "a host",
    "machine": "2 cores",
}
TRIAL = {
    "trial_id": "0123456789ab",
    "status": "pruned",
    "options": {"seed": "1"},
    "choices": {"objective": "causal"},
    "first_grid": "f" * 12,
    "semantic": {"objective": [["causal", 1.0, None, {}, {"causal": 1}]], "infill": None},
    "attempts": [
        {
            "started_at": 1.5,
            "host": "a host",
            "pid": 7,
            "threads": 2,
            "ranks": 2,
            "strategy": "ddp",
            "submission": {"launcher": "local", "job_id": "7", "submitted_at": 1.0},
            "activity": "training",
            "from_step": 0,
            "validation": {"validation_id": "v" * 12, "evaluations": 9},
            "ended": "pruned",
            "ended_at": 2.5,
        },
        {"started_at": 3.0, "host": "a host", "pid": 8, "ranks": 1},
    ],
    "failure": {"message": "m", "traceback": "t", "evidence": {"last_losses": [1.0, "nan"]}},
    "result": {
        "counters": {
            "steps": 3,
            "train_tokens": 2**53 + 1,
            "input_tokens": 10,
            "loss_tokens": 9,
            "truncated_tokens": 0,
            "flops": 1e9,
            "windows": "w",
        },
        "training_seconds": 1.25,
        "parameters": 10,
        "data_fingerprint": "d",
        "reading": {"code": {"fraction": 1.0, "epochs": 0.5}},
    },
    "evaluations": {"e" * 12: {"bpb_full": 2.0}},
    "validation": {"v" * 12: {"bpb_full": 2.125}},
    "provenance": PROVENANCE,
    "submission": {"launcher": "slurm", "job_id": "8", "submitted_at": 2.0},
    "is_scoring": True,
    "pruned_by": {"storage": "s", "study": "arm", "number": 3},
    "started_at": 3.0,
    "finished_at": 4.0,
    "updated_at": 5.0,
}
SETTINGS = {
    "space": {"optimizer.learning_rate": {"low": 1e-4, "high": 1e-1}},
    "metrics": ["bpb_full"],
    "n_trials": 8,
    "sampler": "tpe",
    "pruner": "median",
    "tune_seed": 0,
    "tune_replicates": 2,
}
GRID = {
    "grid_id": "f" * 12,
    "command": "ablate -m objective=causal,mixed",
    "title": "objective",
    "arms": [
        {"label": "a", "options": {"objective": "causal"}, "tasks": {"causal": 1.0}, "trials": {"0": "0" * 12}},
        {"label": "b", "options": {}, "tasks": {}, "trials": {"0": "0" * 12}, "same_as": "a"},
    ],
    "declaration": {
        "primary_metric": "bpb_full",
        "smallest_effect": 0.02,
        "confidence": 0.95,
        "contrasts": [{"name": "b", "metric": "bpb_full", "weights": {"b": 1.0, "a": -1.0}, "smallest_effect": 0.01}],
        "factors": ["objective"],
        "matched_on": "train_tokens",
        "pairing": "windows",
        "looks": [5, 8],
        "name": "lesson_x",
        "question": "Is it good?",
        "baseline": "a",
        "planned_comparisons": 12,
        "ladder": {
            "over": ["scale"],
            "fits": ["slope", "compute"],
            "targets": {"1b": 5e20},
            "contrasts": {"a − b": {"a": 1.0, "b": -1.0}},
        },
    },
    "suites": {"bits_per_byte": "e" * 12},
    "metrics": [
        {
            "name": "infill_exact_single_line",
            "meaning": "…",
            "unit": "fraction of middles",
            "direction": "maximize",
            "smallest_effect": 0.02,
            "needs_infill": True,
            "is_reference": True,
            "variant_of": "infill_exact",
        }
    ],
    "created_at": 1.0,
    "provenance": PROVENANCE,
    "other_declarations": ["1" * 12],
    "looks": [
        {
            "seeds": 5,
            "is_decided": False,
            "comparisons": [
                {
                    "name": "b",
                    "metric": "bpb_full",
                    "difference": 0.1,
                    "verdict": "undecided",
                    "low": -0.1,
                    "high": 0.3,
                    "margin": 0.25,
                    "seeds": 5,
                }
            ],
        }
    ],
    "known_before": ["0" * 12],
    "questions": ["2" * 12],
    "seen": {
        "tries": ["1" * 12],
        "beside": [{"grid_id": "3" * 12, "comparisons": 2, "planned": 12}],
        "left_out": ["7"],
    },
    "tuning": {
        "tuning_id": "7" * 12,
        "settings": SETTINGS,
        "arms": {
            "a": [
                {
                    "study": "s",
                    "number": 1,
                    "trial_id": "0" * 12,
                    "values": {"optimizer.learning_rate": 0.004},
                    "score": 2.01,
                    "cost": {"ended": 5, "pruned": 3, "failed": 0, "train_tokens": 2.5e6},
                    "untuned": {"init_seed": None},
                }
            ]
        },
    },
}
TUNING = {
    "tuning_id": "7" * 12,
    "command": "ablate -m sweeps=learning_rate",
    "settings": SETTINGS,
    "arms": [{"label": "a", "options": {"objective": "causal"}, "study": "s"}],
    "created_at": 1.0,
    "provenance": PROVENANCE,
    "storage": "sqlite:///s.db",
}
RECORDS = [(TrialRecord, TRIAL), (GridRecord, GRID), (TuningRecord, TUNING)]


@pytest.mark.parametrize(("cls", "content"), RECORDS)
def test_json_survives_a_round_trip(cls: type[Any], content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"format": FORMAT, **content}))
    record = read(path, cls)
    write(path, record)
    assert json.loads(path.read_text()) == {"format": FORMAT, **content}
    assert read(path, cls) == record


def empty_fields(record: Any, place: str = "") -> list[str]:
    """Fields that the example above leaves at an empty default."""
    if isinstance(record, tuple):
        return [name for part in record[:1] for name in empty_fields(part, place)]
    if not is_dataclass(record):
        return [] if record or record in (0, False, {}) else [place]
    parts = [field for field in fields(record) if field.name != "extra"]
    return [name for field in parts for name in empty_fields(getattr(record, field.name), f"{place}.{field.name}")]


@pytest.mark.parametrize(("cls", "content"), RECORDS)
def test_the_examples_fill_every_field(cls: type[Any], content: dict[str, Any]) -> None:
    assert empty_fields(from_json(cls, content)) in ([], [".arms.same_as"])


def test_unknown_keys_are_kept_and_written_back(tmp_path: Path) -> None:
    attempts = [{**TRIAL["attempts"][0], "gpu": "x"}]  # type: ignore[index]
    content = {"format": FORMAT, **TRIAL, "attempts": attempts, "later": {"a": [1]}}
    folder = Ledger(tmp_path).trial("0123456789ab")
    folder.path.mkdir()
    folder.record_path.write_text(json.dumps(content))
    assert folder.record().extra == {"later": {"a": [1]}}
    folder.update(status=Status.FINISHED)
    folder.update_attempt(threads=4)
    written = json.loads(folder.record_path.read_text())
    assert written["later"] == {"a": [1]}
    assert written["attempts"] == [{**attempts[0], "threads": 4}]
    assert written["status"] == "finished"


def test_the_types_of_a_record_are_those_of_its_fields() -> None:
    record = from_json(TrialRecord, {**TRIAL, "started_at": 3})
    assert record.status is Status.PRUNED
    assert isinstance(record.attempts, tuple)
    assert isinstance(record.started_at, float)
    assert record.result is not None
    assert record.result.counters.train_tokens == 2**53 + 1
    assert to_json(TrialRecord("0" * 12)) == {"trial_id": "0" * 12, "status": "pending"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "done"}, "status: 'done' is none of pending, submitted"),
        ({"options": ["seed"]}, r"options: \['seed'\] is not an object"),
        ({"attempts": [{"started_at": 1.0, "host": "a", "pid": "7"}]}, "attempts.0.pid: '7' is not a whole number"),
        ({"attempts": [{"host": "a"}]}, "attempts.0: pid, started_at: missing from Attempt"),
        ({"is_scoring": 1}, "is_scoring: 1 is not true or false"),
        ({"updated_at": True}, "updated_at: True is not a number"),
        ({"evaluations": {"e": {"bpb": None}}}, "evaluations.e.bpb: None is not a number"),
        ({"failure": {"message": "m", "traceback": "t", "x": 1}}, "failure: x: unknown to Failure"),
    ],
)
def test_an_error_names_the_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        from_json(TrialRecord, {**TRIAL, **changes})


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "grids" / f"{'f' * 12}.json"
    write(path, from_json(GridRecord, GRID))
    path.write_text(path.read_text().replace(f'"format": {FORMAT}', f'"format": {FORMAT + 1}', 1))
    newer = rf"written by a newer ablate \(format {FORMAT + 1}, this one knows {FORMAT}\). Update ablate"
    with pytest.raises(NewerFormatError, match=newer):
        Ledger(tmp_path).grid("f" * 12)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"status": "finished"}', f'{{"format": {FORMAT}, "status": 3}}'])
def test_a_damaged_record_is_named_and_leaves_the_others_readable(tmp_path: Path, text: str) -> None:
    ledger = Ledger(tmp_path)
    for trial in ("a" * 12, "b" * 12):
        ledger.freeze(TrialRecord(trial, Status.FINISHED), {})
    ledger.trial("a" * 12).record_path.write_text(text)
    damaged, whole = ledger.trials()
    with pytest.raises(LedgerError, match=r"aaaaaaaaaaaa/record\.json: .*Move it away"):
        damaged.record()
    assert whole.record().status is Status.FINISHED


def test_records_do_not_change() -> None:
    record = from_json(TrialRecord, TRIAL)
    with pytest.raises(AttributeError):
        record.status = Status.FAILED  # type: ignore[misc]
    assert replace(record, status=Status.FAILED) != record
