"""Studies: who proposes and prunes, what is drawn again after a kill, storages that can't be used, the dashboard."""

import json
import multiprocessing
import sqlite3
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import TrialState

from ablate.config.tuning import PRUNERS as PRUNER_NAMES
from ablate.config.tuning import SAMPLERS as SAMPLER_NAMES
from ablate.config.tuning import DimensionConfig, TuningConfig
from ablate.errors import LedgerError, UsageError
from ablate.records.optuna.storage import open_storage, storage_errors
from ablate.records.optuna.studies import (
    ABOUT,
    PRUNERS,
    SAMPLERS,
    Candidate,
    KeyedSampler,
    quietly,
    storage_of,
    studies_of,
)
from ablate.records.provenance import Provenance
from ablate.records.tuning import CandidateRef, TuningRecord, TuningSettings
from ablate.tuning.space import Space
from ablate.tuning.study import ArmStudy, checked_metrics, checked_pruner, grid_size, make_sampler
from tests.support.tunings import SWEEP

SPACE = Space.of(
    {"rate": DimensionConfig(low=1e-4, high=1e-1, log=True), "share": DimensionConfig(low=0.0, high=1.0, step=0.25)}
)


def sweep(**changes: Any) -> TuningConfig:
    return TuningConfig(**SWEEP | changes)


def about(**changes: Any) -> dict[str, Any]:
    pruner = {"kind": "none", "parameters": {}}
    return {
        "space": {"rate": 1},
        "metrics": ["bpb_full"],
        "arm": "a" * 12,
        "validation": "t",
        "pruner": pruner,
    } | changes


def opened(path: Path | str, config: TuningConfig, **changes: Any) -> ArmStudy:
    given = about(**changes)
    sampler = make_sampler(config, SPACE)
    return ArmStudy.open(open_storage(str(path)), "a study", sampler, given, config.n_trials)


def test_names_are_those_of_optunas_components() -> None:
    assert set(SAMPLER_NAMES) == set(SAMPLERS)
    assert set(PRUNER_NAMES) == set(PRUNERS)


@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_every_sampler_proposes_the_same_after_a_kill(name: str, tmp_path: Path) -> None:
    samplers = {"gp": {"n_startup_trials": 2}, "tpe": {"n_startup_trials": 2}}

    def proposed(path: Path, *, kill_every: int) -> list[dict[str, Any]]:
        values = []
        study = opened(path, sweep(sampler=name, samplers=samplers))
        for number in range(6):
            if number % kill_every == 0:
                study = opened(path, sweep(sampler=name, samplers=samplers))
            trial = study.ask("me")
            drawn = SPACE.suggest(trial, lambda key: None)
            study.tell(trial.number, TrialState.COMPLETE, [float(str(drawn["rate"])) + float(str(drawn["share"]))])
            values.append(drawn)
        return values

    through = proposed(tmp_path / "through.journal", kill_every=99)
    killed = proposed(tmp_path / "killed.journal", kill_every=2)
    assert through == killed
    assert len({json.dumps(one) for one in through}) > 1, "it does not propose one thing again and again"


def test_another_seed_proposes_something_else() -> None:
    def first(seed: int) -> float:
        study = optuna.create_study(sampler=KeyedSampler(lambda seed: RandomSampler(seed=seed), seed))
        return study.ask().suggest_float("a", 0, 1)

    assert len({first(seed) for seed in range(5)}) == 5


def test_unknown_and_wrong_parameters_are_told() -> None:
    with pytest.raises(UsageError, match=r"hydra.sweeper.samplers.tpe.n_startup: unknown key. Did you mean n_startup_"):
        make_sampler(sweep(samplers={"tpe": {"n_startup": 5}}), SPACE)
    with pytest.raises(UsageError, match=r"hydra.sweeper.samplers.nsgaii: "):
        make_sampler(sweep(sampler="nsgaii", samplers={"nsgaii": {"population_size": 1}}), SPACE)
    with pytest.raises(UsageError, match=r"hydra.sweeper.pruners.wilcoxon.p: unknown key"):
        checked_pruner(sweep(pruner="wilcoxon", pruners={"wilcoxon": {"p": 5}}), 4)
    with pytest.raises(UsageError, match=r"hydra.sweeper.pruners.wilcoxon: p_threshold must be between 0 and 1"):
        checked_pruner(sweep(pruner="wilcoxon", pruners={"wilcoxon": {"p_threshold": 5.0}}), 4)
    with pytest.raises(UsageError, match=r"prunes at every validation but the last, .* evaluation.val_evaluations=1"):
        checked_pruner(sweep(pruner="median"), 1)
    with pytest.raises(UsageError, match=r"min_resource=4: nothing is pruned before it"):
        checked_pruner(sweep(pruner="hyperband", pruners={"hyperband": {"min_resource": 4}}), 4)


def test_a_grid_has_an_end_and_no_conditions() -> None:
    assert grid_size(sweep(sampler="grid", samplers={"grid": {"points": 4}}), SPACE) == 4 * 5
    assert grid_size(sweep(), SPACE) is None
    conditional = Space.of({"rate": DimensionConfig(low=0.0, high=1.0, when={"infill": "psm"})})
    with pytest.raises(UsageError, match=r"does not support when, which .*rate has"):
        make_sampler(sweep(sampler="grid"), conditional)


def test_metrics_and_pruners_that_cannot_go_together_are_told() -> None:
    assert checked_metrics(("bpb_full/code", "flops"), "none") == ("bpb_full/code", "flops")
    with pytest.raises(UsageError, match=r"hydra.sweeper.metrics: bpb_ful: no such metric. Did you mean bpb_full"):
        checked_metrics(("bpb_ful",), "none")
    with pytest.raises(UsageError, match=r"prunes by one metric, and hydra.sweeper.metrics has 2"):
        checked_metrics(("bpb_full", "flops"), "hyperband")
    with pytest.raises(UsageError, match="and flops is none"):
        checked_metrics(("flops",), "median")


def test_a_study_of_another_space_is_told_with_what_differs(tmp_path: Path) -> None:
    opened(tmp_path / "s.journal", sweep())
    pruner = {"kind": "median", "parameters": {}}
    assert opened(tmp_path / "s.journal", sweep(), pruner=pruner).study.user_attrs[ABOUT]["pruner"] == pruner
    with pytest.raises(UsageError, match=r"(?s)the study a study belongs to another tuning.*space.rate: 1 → 2"):
        opened(tmp_path / "s.journal", sweep(), space={"rate": 2})


def test_a_study_of_somebody_else_is_told(tmp_path: Path) -> None:
    study = optuna.create_study(storage=open_storage(str(tmp_path / "s.journal")), study_name="a study")
    study.ask()
    with pytest.raises(UsageError, match="was not created by ablate"):
        opened(tmp_path / "s.journal", sweep())


def test_what_failed_is_tried_again_once_and_what_was_refused_never(tmp_path: Path) -> None:
    study = opened(tmp_path / "s.journal", sweep(n_trials=3))
    first, second = study.ask("me"), study.ask("me")
    drawn = SPACE.suggest(first, lambda key: None)
    SPACE.suggest(second, lambda key: None)
    study.tell(first.number, TrialState.FAIL)
    study.refuse(second, "it can't be")
    for _ in range(2):
        again = opened(tmp_path / "s.journal", sweep(n_trials=3))
        again.try_again()
    assert [trial.state for trial in again.trials()] == [TrialState.FAIL, TrialState.FAIL, TrialState.WAITING]
    assert SPACE.suggest(again.ask("me"), lambda key: None) == drawn
    assert not again.is_spent, "neither counts among what came to an end"


def test_half_a_line_at_the_end_of_a_journal_is_taken_away_by_who_writes_next(tmp_path: Path) -> None:
    path = tmp_path / "s.journal"
    lives = opened(path, sweep())
    lives.ask("me")
    with path.open("a") as file:
        file.write('{"op_code":5,"wor')
    lives.ask("me")
    assert len(opened(path, sweep()).trials()) == 2


def test_half_a_line_at_the_end_of_a_journal_is_taken_away_by_who_opens_it(tmp_path: Path) -> None:
    path = tmp_path / "s.journal"
    opened(path, sweep()).ask("me")
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[-1][:40])
    assert len(opened(path, sweep()).trials()) == 1
    opened(path, sweep()).ask("me")
    assert len(opened(path, sweep()).trials()) == 2
    assert path.read_bytes().startswith(whole)


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("postgresql+psycopg2://me:secret@nowhere/db", "postgresql+psycopg2://me:***@nowhere/db: has a password"),
        ("postgresql+nodriver://nowhere/db", "Allowed: a path (a journal file), sqlite:///PATH"),
        ("postgresql+asyncpg://nowhere/db", "needs its driver: pip install asyncpg"),
        ("sqlite:////nowhere/at/all.db", "unable to open database file"),
        ("/proc/nowhere/s.journal", "cannot read or write the studies"),
        ("oracle:/x", "cannot read or write the studies"),
    ],
)
def test_a_storage_out_of_reach_is_told(
    storage: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/proc" if storage.startswith("oracle") else tmp_path)
    with pytest.raises(LedgerError) as told:
        open_storage(storage)
    assert message in str(told.value)
    assert "secret" not in str(told.value)


def test_a_locked_database_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablate.records.optuna.storage.CONNECT", {"sqlite": {"timeout": 0.1}})
    url = f"sqlite:///{tmp_path}/s.db"
    open_storage(url)
    holding = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    holding.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(LedgerError, match="database is locked"), storage_errors(url):
            ArmStudy.open(open_storage(url), "a study", RandomSampler(), about(), 3)
    finally:
        holding.close()


def test_a_file_that_is_no_journal_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    text = "not a journal\nat all, without an end"
    (tmp_path / "notes.txt").write_text(text)
    with pytest.raises(LedgerError, match="exists and is not a journal of studies"):
        open_storage(str(tmp_path / "notes.txt"))
    assert (tmp_path / "notes.txt").read_text() == text


def test_a_storage_means_the_same_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert storage_of(None, tmp_path) == f"{tmp_path}/studies.journal"
    assert storage_of("a/s.journal", Path("/runs")) == f"{tmp_path}/a/s.journal"
    assert storage_of("sqlite:///s.db", Path("/runs")) == f"sqlite:///{tmp_path}/s.db"
    assert storage_of("sqlite:////s.db", Path("/runs")) == "sqlite:////s.db"
    assert storage_of("postgresql+psycopg://host/db", Path("/runs")) == "postgresql+psycopg://host/db"
    settings = TuningSettings(space={}, metrics=(), n_trials=1, sampler="tpe", pruner="none", tune_seed=0)
    machine = Provenance(ablate="", python="", versions={}, machine="")
    tuning = TuningRecord(
        tuning_id="t", command="", settings=settings, arms=(), created_at=0.0, provenance=machine, storage=None
    )
    with pytest.raises(LedgerError, match="the journal of the studies does not exist"):
        studies_of(tuning, tmp_path)
    assert not list(tmp_path.iterdir()), "who reads makes nothing"


def test_what_was_asked_for_besides_gives_an_arm_no_more_chances(tmp_path: Path) -> None:
    study = opened(tmp_path / "s.journal", sweep(n_trials=2))
    for value in (3.0, 2.0, 1.0):
        study.tell(study.ask("me").number, TrialState.COMPLETE, [value])
    assert study.best is not None
    assert study.best.values == [2.0]
    assert study.ended == 2


def study_of_three(storage: str, pruner: dict[str, Any], **changes: Any) -> optuna.Study:
    """Two trials that ended, with their curves, and one that runs; each asked as it went on."""
    study = optuna.create_study(storage=open_storage(storage), study_name="s", direction="minimize")
    study.set_user_attr(ABOUT, about(pruner=pruner, **changes))
    for number, end in enumerate((1.0, 1.1)):
        trial, candidate = study.ask(), Candidate(CandidateRef(storage, "s", number))
        for step in (1, 2, 3):
            candidate.should_prune(step, {"bpb_full": end + 1 / step})
        study.tell(trial, end)
    study.ask()
    return study


MEDIAN = {"kind": "median", "parameters": {"n_startup_trials": 1}}


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_a_trial_asks_its_study(kind: str, tmp_path: Path) -> None:
    storage = str(tmp_path / "s.journal") if kind == "journal" else f"sqlite:///{tmp_path}/s.db"
    study = study_of_three(storage, MEDIAN)
    candidate = Candidate(CandidateRef(storage, "s", 2))
    assert not candidate.should_prune(1, {"bpb_full": 1.9, "bpb_continuation": 99.0})
    assert candidate.should_prune(2, {"bpb_full": 1.9})
    assert study.trials[2].intermediate_values == {1: 1.9, 2: 1.9}
    assert study.trials[2].state == TrialState.RUNNING, "the sweep tells how it ended"


@pytest.mark.parametrize(
    ("pruner", "expected"),
    [
        (
            {"kind": "hyperband", "parameters": {"min_resource": 1, "max_resource": 2, "reduction_factor": 2}},
            [True, True],
        ),
        ({"kind": "wilcoxon", "parameters": {"p_threshold": 0.9, "n_startup_steps": 0}}, [False, True]),
        (MEDIAN, [True, True]),
    ],
)
def test_every_pruner_stops_a_candidate_that_is_far_behind(
    pruner: dict[str, Any], expected: list[bool], tmp_path: Path
) -> None:
    storage = str(tmp_path / "s.journal")
    study_of_three(storage, pruner)
    candidate = Candidate(CandidateRef(storage, "s", 2))
    assert [candidate.should_prune(step, {"bpb_full": 50.0}) for step in (1, 2)] == expected


@pytest.mark.parametrize(
    "pruner",
    [
        {"kind": "hyperband", "parameters": {"min_resource": 1, "max_resource": 2, "reduction_factor": 2}},
        {"kind": "wilcoxon", "parameters": {"p_threshold": 0.9, "n_startup_steps": 0}},
    ],
    ids=lambda pruner: pruner["kind"],
)
@pytest.mark.parametrize(("startup", "expected"), [(2, True), (3, False)])
def test_nothing_is_pruned_before_some_candidates_were_trained_to_the_end(
    pruner: dict[str, Any], startup: int, expected: bool, tmp_path: Path
) -> None:
    storage = str(tmp_path / "s.journal")
    study_of_three(storage, pruner | {"parameters": {**pruner["parameters"], "n_startup_trials": startup}})
    candidate = Candidate(CandidateRef(storage, "s", 2))
    is_pruned = [candidate.should_prune(step, {"bpb_full": 50.0}) for step in (1, 2)]
    assert any(is_pruned) is expected


def test_no_pruner_and_several_metrics_prune_nothing(tmp_path: Path) -> None:
    study_of_three(str(tmp_path / "none.journal"), {"kind": "none", "parameters": {}})
    assert not Candidate(CandidateRef(str(tmp_path / "none.journal"), "s", 2)).should_prune(2, {"bpb_full": 50.0})
    study = study_of_three(str(tmp_path / "two.journal"), MEDIAN, metrics=["bpb_full", "flops"])
    assert not Candidate(CandidateRef(str(tmp_path / "two.journal"), "s", 2)).should_prune(2, {"bpb_full": 50.0})
    assert study.trials[2].intermediate_values == {}


def test_a_study_that_cannot_be_asked_stops_no_trial(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not Candidate(CandidateRef("sqlite:////nowhere/at/all.db", "s", 0)).should_prune(1, {"bpb_full": 1.0})
    assert "the training continues" in caplog.text
    study = study_of_three(str(tmp_path / "s.journal"), MEDIAN)
    study.tell(2, state=TrialState.FAIL)
    assert not Candidate(CandidateRef(str(tmp_path / "s.journal"), "s", 2)).should_prune(1, {"bpb_full": 50.0})


def ask_many(storage: str, sampler_seed: int) -> None:
    study = opened(storage, sweep(sampler="random", sampler_seed=sampler_seed))
    for _ in range(20):
        trial = study.ask(str(sampler_seed))
        SPACE.suggest(trial, lambda key: None)
        study.tell(trial.number, TrialState.COMPLETE, [1.0])


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_processes_that_make_and_share_a_study_lose_nothing(kind: str, tmp_path: Path) -> None:
    path = str(tmp_path / "s.journal") if kind == "journal" else f"sqlite:///{tmp_path}/s.db"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=ask_many, args=(path, seed)) for seed in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    trials = opened(path, sweep()).trials()
    assert [trial.number for trial in trials] == list(range(60))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    # Numbers differ, so candidates do, whoever made them.
    assert len({trial.params["rate"] for trial in trials}) == 60


def test_the_dashboard_reads_a_study(tmp_path: Path) -> None:
    study = study_of_three(str(tmp_path / "s.journal"), MEDIAN)
    # In a process of its own: it changes what is imported, and warns of others' deprecations.
    program = (
        "import json, sys, io\n"
        "from ablate.records.optuna.storage import open_storage\n"
        "from optuna_dashboard import wsgi\n"
        "app = wsgi(open_storage(sys.argv[1]))\n"
        "def get(path):\n"
        "    environ = {'REQUEST_METHOD': 'GET', 'PATH_INFO': path, 'QUERY_STRING': 'after=0',\n"
        "               'wsgi.input': io.BytesIO(), 'wsgi.errors': sys.stderr, 'SERVER_NAME': 'x',\n"
        "               'SERVER_PORT': '80', 'wsgi.url_scheme': 'http'}\n"
        "    return json.loads(b''.join(app(environ, lambda *about: None)))\n"
        "print(json.dumps([get('/api/studies'), get('/api/studies/0')]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(tmp_path / "s.journal")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    listed, one = json.loads(done.stdout.splitlines()[-1])
    assert [found["study_name"] for found in listed["study_summaries"]] == [study.study_name]
    assert [trial["state"] for trial in one["trials"]] == ["Complete", "Complete", "Running"]
    assert len(one["trials"][0]["intermediate_values"]) == 3


def test_tpe_is_quiet() -> None:
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        TPESampler(multivariate=True, group=True)
    with warnings.catch_warnings(record=True) as told, quietly():
        TPESampler(multivariate=True, group=True)
    assert told == []


@pytest.mark.parametrize("line", [b"garbage", b"", b"\0\0\0", b"[1]", b'{"worker_id": "a"}'])
def test_a_damaged_line_of_a_journal_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "s.journal"
    opened(path, sweep())
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:1], line, *lines[1:]]) + b"\n")
    with pytest.raises(LedgerError, match=r"s\.journal: line 2 is damaged: .*sed -i 2d .*, or move the file away"):
        open_storage(str(path))
    path.write_bytes(b"\n".join(lines) + b"\n")
    open_storage(str(path))


def test_a_database_stays_open_no_longer_than_it_is_used(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/s.db")
    study = optuna.create_study(storage=storage, study_name="a study")
    study.tell(study.ask(), 1.0)
    assert len(study.trials) == 1
    assert not [file.path for file in psutil.Process().open_files() if file.path.endswith("s.db")]
