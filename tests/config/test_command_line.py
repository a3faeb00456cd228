"""Bad input, from the command line: one clear message, the right exit code, no traceback, nothing started."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from ablate import CONF
from ablate.config.parse import composed_from_container, trial_from_container, trial_to_container
from ablate.grid.check import check
from ablate.grid.expand import default_container
from ablate.scheduling.job import Job
from ablate.scheduling.launchers.hydra import job_overrides, quoted
from ablate.verbs.options import groups
from ablate.verbs.table import VERBS
from tests.support.in_process import run_in_process

WRONG = [
    ("objektive=causal", 2, "objektive: unknown key. Did you mean objective?"),
    ("objective=causl", 2, "objective=causl: no such choice. Did you mean causal? Allowed: causal, mixed,"),
    ("budget.train_token=5", 2, "budget.train_token: unknown key. Did you mean budget.train_tokens?"),
    ("+budget.foo=1", 2, "budget.foo: unknown key. Allowed: matched_on, rows_per_step, train_tokens."),
    ("seed=1.5", 2, "seed=1.5: a seed is a whole number from 0 up"),
    ("-m seed=0,-1", 2, "seed=-1: a seed is a whole number from 0 up"),
    ("scale.d_model=-64", 2, "scale.d_model=-64: should be greater than 0."),
    ("scale.n_layers=0", 2, "scale.n_layers=0: should be greater than 0."),
    ("scale.n_heads=3", 2, "scale.d_model=128: must be a multiple of scale.n_heads=3."),
    ("scale.window_tokens=300", 2, "scale.window_tokens=300: must not exceed scale.context_tokens=256."),
    ("hardware.micro_batch_rows=3", 2, "must divide budget.rows_per_step=4. Allowed: 1, 2, 4."),
    ("budget.train_tokens=many", 2, 'budget.train_tokens="many": should be a valid integer'),
    ("optimizer.learning_rate=nan", 2, "optimizer.learning_rate"),
    ("precision=fp16", 2, "precision=\"fp16\": should be 'fp32' or 'bf16'."),
    ("objective=causal,prefix", 2, "several values make a grid; add -m:"),
    ("-m objective=causal,prefix scale.d_model=128,-1", 2, "scale.d_model=-1: should be greater than 0."),
    ("-m objective=causal,prefix lesson.baseline=mixed", 2, "no arm has this label. Allowed: causal, prefix."),
    ("-m objective=causal,prefix lesson.primary_metric=bpb_ful", 2, "Did you mean bpb_full?"),
    ("-m evaluation.suites.bits_per_byte.passage_bytes=100,200", 2, "are scored in different ways"),
    ("-m budget=demo,smoke", 2, "The arms' budgets differ by more than 1%"),
    ("-m lesson.smallest_effect=0.1,0.2", 2, "belongs to the grid as a whole; give one value."),
    ("++seed=x", 2, "seed=x: a seed is a whole number"),
    ("++trial_id=abc", 2, "trial_id: ablate sets it."),
    ("-m init_seed=0,1 data_seed=0,1", 2, "init_seed and data_seed cross: 4 trials of an arm"),
    ("-m scale=demo,4m budget.matched_on=flops", 2, "different shape can't be matched on it"),
    (
        "objective=prefix objective.tasks.prefix.fraction_min=0.9 objective.tasks.prefix.fraction_max=0.1",
        2,
        "is above fraction_max",
    ),
    ("objective=mixed objective.tasks.span_corruption.noise.span_min_tokens=20", 2, "is above span_max_tokens=16"),
    (
        "objective=mixed objective.tasks.span_corruption.noise.ratio_max=0.9",
        2,
        "leaves no unmasked token between two spans",
    ),
    ("tokenizer.vocab_size=300", 2, "tokenizer.mask_sentinels=64 take at least 329."),
    ("--hepl", 2, "--hepl: no such flag. Did you mean --help?"),
    ("budget=smoke foo", 2, "foo: what should it be? Options have the form key=value."),
    ("~replicates", 2, "replicates: missing; it needs a value."),
    ("objective=null", 2, "Config group override must be a string"),
    ("-m --cfg job", 2, "leave one of them out"),
    ("-m budget.matched_on=train_tokens,flops", 2, "budget.matched_on differs between arms"),
    ("-m optimizer.learning_rate=interval(0,1)", 2, "optimizer.learning_rate=0, which hydra.sweeper.space allows:"),
    ("+mixture.weights.music=1", 2, "mixture.weights.music: the corpus has no such source."),
    ("mixture.weights.code=0.0001", 2, "mixture.weights: code has 0.0002 of the budget's 1,945 rows, less than one."),
    ("objective=mixed tokenizer.mask_sentinels=4", 2, "can draw 27 spans in a window of 216 tokens"),
    (
        "objective=prefix objective.tasks.prefix.fraction_max=2",
        2,
        "objective.tasks.prefix.fraction_max=2: should be less",
    ),
    ("corpus=files mixture=text", 2, "corpus.sources.text.files.path"),
    ("corpus=files mixture=text corpus.sources.text.files.path=~/nowhere", 2, "/nowhere does not exist"),
    ("trial_id=abc", 2, "trial_id: ablate sets it."),
    ("runs_dir=null", 2, "runs_dir=null: should be the path of a folder."),
    ("trian", 2, "trian: no such verb."),
    ("lessons", 2, "there is no ledger here."),
    ("lessons objective=causal", 2, "lessons: takes no objective=causal without -m. Usage:\n  ablate lessons [NAME …]"),
    ("lessons -m objective=causal,prefix", 2, "was not run below"),
    ("cache_dir=cache corpus.sources.code.sympy.version=0.0.1", 1, "pip install 'sympy==0.0.1'"),
]


@pytest.mark.parametrize(("command", "code", "message"), WRONG)
def test_wrong_input_is_told(command: str, code: int, message: str, tmp_path: Path) -> None:
    done = run_in_process(tmp_path, *command.split())
    assert message in done.stderr
    assert done.returncode == code
    assert done.stderr.startswith("ablate: ")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("record.json")), "nothing was started"


def test_a_file_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"\xfe\xff")
    done = run_in_process(
        tmp_path, "corpus=files", "mixture=text", f"corpus.sources.text.files.path={tmp_path / 'bad.txt'}"
    )
    assert done.returncode == 1
    assert "bad.txt: not UTF-8 (byte 0 is 0xfe)" in done.stderr


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    done = run_in_process(
        tmp_path, "corpus=files", "mixture=text", f"corpus.sources.text.files.path={tmp_path / 'empty.txt'}"
    )
    assert done.returncode == 1
    assert "corpus.sources.text: each split needs a document" in done.stderr


def test_a_ledger_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("in the way")
    done = run_in_process(tmp_path, "budget=smoke")
    assert done.returncode == 1
    assert f"{tmp_path}/runs: cannot write the ledger" in done.stderr


def test_debug_shows_where(tmp_path: Path) -> None:
    done = run_in_process(tmp_path, "scale.d_model=-1", environment={"ABLATE_DEBUG": "1"})
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_help_names_every_group_and_choice(tmp_path: Path) -> None:
    done = run_in_process(tmp_path, "--help")
    assert done.returncode == 0
    for verb in VERBS:
        assert f"  {verb} " in done.stdout
    for group in groups():
        [line] = [line for line in done.stdout.splitlines() if line.startswith(f"  {group} ")]
        choices = set(line.removeprefix(f"  {group}").strip().split(", "))
        assert choices == {path.stem for path in (CONF / group).glob("[!_]*.yaml")}


def test_cfg_prints_what_a_command_composes(tmp_path: Path) -> None:
    done = run_in_process(tmp_path, "objective=prefix", "--cfg", "job")
    assert done.returncode == 0
    assert "fraction_max: 1.0" in done.stdout
    assert list(tmp_path.iterdir()) == []


# What a choice can't do without.
TOGETHER = {
    "corpus=files": "mixture=text corpus.sources.text.files.path=/tmp",
    "corpus=jsonl": "mixture=text corpus.sources.text.lines.path=/tmp",
    "corpus=parquet": "mixture=text corpus.sources.text.table.path=/tmp",
    "corpus=megatron": "mixture=text corpus.sources.text.shards.path=/tmp tokenizer=gpt2",
    "corpus=hub": "mixture=text corpus.sources.text.hub.path=owner/name",
    "corpus=fineweb": "mixture=text",
    "corpus=pile_uncopyrighted": "mixture=text",
    "corpus=stack_dedup": "mixture=code",
    "corpus=starcoderdata": "mixture=code",
    "mixture=code": "corpus=starcoderdata",
    "preparation=slurm": "preparation.partition=cpu",
    "mixture=text": "corpus=files corpus.sources.text.files.path=/tmp",
    "tokenizer=file": "tokenizer.path=/tmp tokenizer.vocab_size=400",
    "architecture=encoder_decoder": "objective=span_corruption",
    "objective=ul2": "scale=4m tokenizer.mask_sentinels=75",
    "objective=ul2_modes": "scale=4m tokenizer.mask_sentinels=75",
}


CHOICES = [f"{group}={path.stem}" for group in groups() for path in sorted((CONF / group).glob("[!_]*.yaml"))]


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes_and_is_sound(choice: str) -> None:
    trial = composed_from_container(default_container(choice, *TOGETHER.get(choice, "").split())).trial
    check(trial)
    assert trial_from_container(trial_to_container(trial)) == trial


@pytest.mark.parametrize("path", sorted(CONF.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_arm_says_what_it_is(path: Path) -> None:
    assert path.read_text().startswith("# ")


def test_paths_are_quoted_for_hydra() -> None:
    for value in ("/a b/runs", "/it's/here", "/back\\slash", "/a,b", "/a=b", "/{x}", "/$y"):
        [override] = OverridesParser.create().parse_overrides([f"runs_dir={quoted(value)}"])
        assert str(override.value()).strip("'").replace("\\'", "'").replace("\\\\", "\\") == value


@pytest.mark.parametrize("trial", ["22292e012950", "123456789012", "000000000000", "4cc4ef8bd1da"])
def test_a_job_is_told_its_trial_as_text(trial: str) -> None:
    overrides = job_overrides(Job(trial, Path("/a folder/it's")))
    values = [one.value() for one in OverridesParser.create().parse_overrides(overrides)]
    assert [getattr(value, "text", value) for value in values] == [trial, "/a folder/it's"]
