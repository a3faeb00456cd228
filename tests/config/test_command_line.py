"""Bad input, from the command line: one clear message, the right exit code, no traceback, nothing started.

More wrong commands are in test_wrong_inputs.py.
"""

import contextlib
import importlib
import io
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from ablate import CONF, __version__
from ablate.config.options import groups
from ablate.config.parse import composed_from_container, trial_from_container, trial_to_container
from ablate.config.quoting import quoted
from ablate.grid.check import check
from ablate.grid.expand import default_container
from ablate.scheduling.job import Job
from ablate.scheduling.launchers.hydra import job_overrides
from ablate.verbs.commands import answer
from ablate.verbs.flag import HYDRA_FLAGS
from ablate.verbs.table import VERBS, Composes, Verb
from tests.support.command_line import with_tiny
from tests.support.in_process import Completed, run_in_process
from tests.support.text import write_text

WRONG = [
    ("scale.n_layers=0", 2, "scale.n_layers=0: should be greater than 0."),
    ("-m objective=causal,prefix scale.d_model=128,-1", 2, "scale.d_model=-1: should be greater than 0."),
    ("-m objective=causal,prefix lesson.primary_metric=bpb_ful", 2, "Did you mean bpb_full?"),
    ("-m evaluation.suites.bits_per_byte.passage_bytes=100,200", 2, "are scored in different ways"),
    ("-m budget=demo,smoke", 2, "The arms' budgets differ by more than 1%"),
    ("-m lesson.smallest_effect=0.1,0.2", 2, "applies to the whole grid. Give one value."),
    ("++seed=x", 2, "seed=x: a seed is a whole number"),
    ("++trial_id=abc", 2, "trial_id: set by ablate."),
    ("-m scale=demo,4m budget.matched_on=flops", 2, "different shape can't be matched on it"),
    (
        "-m objective=causal,prefix budget.matched_on=loss_tokens budget=smoke",
        2,
        "arms end after whole steps, and a step of causal is up to 864 tokens, 9.0% of budget.train_tokens=9,600.",
    ),
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
    ("lr=1e-3", 2, "lr: unknown key. Did you mean optimizer.learning_rate? Allowed: architecture,"),
    ("optimizer.lr=1e-3", 2, "optimizer.lr: unknown key. Did you mean optimizer.learning_rate? Allowed: beta1,"),
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


@pytest.mark.parametrize(
    ("content", "problem"), [(b"\xfe\xfe", "not UTF-8 (byte 0 is 0xfe)"), (b"\xfe\xff", "UTF-16. Convert it to UTF-8")]
)
def test_a_file_that_is_not_utf8_is_told(content: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(content)
    done = run_in_process(
        tmp_path, "corpus=files", "mixture=text", f"corpus.sources.text.files.path={tmp_path / 'bad.txt'}"
    )
    assert done.returncode == 1
    assert f"bad.txt: {problem}" in done.stderr


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


def test_an_unreadable_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs/grids/0123456789ab.json").mkdir(parents=True)
    done = run_in_process(tmp_path, "lessons")
    assert done.returncode == 1
    assert done.stderr == f"ablate: {tmp_path}/runs/grids/0123456789ab.json: cannot be read (Is a directory).\n"


def test_debug_shows_where(tmp_path: Path) -> None:
    done = run_in_process(tmp_path, "scale.d_model=-1", environment={"ABLATE_DEBUG": "1"})
    assert done.returncode == 2
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("error", [RuntimeError("CUDA error"), OSError(5, "Input/output error"), KeyError("loss")])
def test_a_fault_keeps_its_traceback(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: object) -> int:
        raise error

    (tmp_path / "runs").mkdir()
    monkeypatch.setattr("ablate.verbs.status.main", fail)
    done = run_in_process(tmp_path, "status")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    *_, shown, last = done.stderr.splitlines()
    assert str(error) in shown
    assert last.startswith("ablate: this is a fault of ablate, not of your command.")


def test_an_interrupt_ends_with_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(arguments: object) -> int:
        raise KeyboardInterrupt

    (tmp_path / "runs").mkdir()
    monkeypatch.setattr("ablate.verbs.status.main", interrupt)
    assert run_in_process(tmp_path, "status") == Completed(130, "", "")


def test_a_reader_that_stops_reading_is_no_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ablate", "--help"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as errors:
        assert errors.read() == ""
    assert process.wait(timeout=60) == 1


def test_help_names_every_verb_group_and_choice(tmp_path: Path) -> None:
    done = run_in_process(tmp_path, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    for verb in VERBS.values():
        assert f"  {verb.name:<12}{verb.help}" in lines
    assert set(groups()) == {path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra"}
    for group in groups():
        [line] = [line for line in lines if line.startswith(f"  {group} ")]
        choices = line.removeprefix(f"  {group}").strip().split(", ")
        assert set(choices) == {path.stem for path in (CONF / group).glob("[!_]*.yaml")}
    assert "  objective     causal, mixed" in done.stdout, "the default comes first"
    commands = [line for line in lines if "ablate " in line and not line.startswith("ablate: ")]
    assert [line for line in commands if "python -m ablate " not in line] == []
    assert done.stdout.count("`ablate …` does the same as `python -m ablate …`.") == 1


@pytest.mark.parametrize("words", [[], ["-h"], ["--help", "status"]])
def test_no_words_print_the_help(words: list[str], tmp_path: Path) -> None:
    assert run_in_process(tmp_path, *words) == run_in_process(tmp_path, "--help")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_every_verb_has_its_own_help(verb: Verb, tmp_path: Path) -> None:
    done = run_in_process(tmp_path, verb.name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert run_in_process(tmp_path, verb.name, "-h", "objective=causal").stdout == done.stdout
    lines, text = done.stdout.splitlines(), " ".join(done.stdout.split())
    assert [line.removeprefix("Usage:").strip() for line in lines[: len(verb.usage)]] == [
        f"python -m ablate {verb.name} {usage}" for usage in verb.usage
    ]
    for meaning in [*verb.takes.values(), *verb.choices.values(), *(flag.help for flag in verb.flags)]:
        assert " ".join(meaning.split()) in text
    assert lines[-2:] == [f"  python -m ablate {example}" for example in verb.examples]
    composes = verb.composes is not Composes.NOTHING
    assert all((f"  {', '.join(flag.names)}" in done.stdout) == composes for flag in HYDRA_FLAGS)


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_every_example_is_a_command(verb: Verb) -> None:
    """Its words are understood, whatever it would find."""
    for example in verb.examples:
        first = shlex.split(example)[0]
        name = first if first in VERBS else "run"
        assert name == verb.name
        module = importlib.import_module(f"ablate.verbs.{name}")
        assert hasattr(module, "main") == verb.is_for_ledger
        assert hasattr(module, "of_grid") == (verb.composes is not Composes.NOTHING)


def test_version_is_ours(tmp_path: Path) -> None:
    assert run_in_process(tmp_path, "--version") == Completed(0, f"ablate {__version__}\n", "")


def completed(words: str, monkeypatch: pytest.MonkeyPatch, shell: str = "bash") -> list[str]:
    """What a shell is told at the end of a command."""
    line = f"ablate {words}"
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", words.split(" ")[-1] if shell == "fish" else str(line.count(" ")))
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert answer(f"{shell}_complete") == 0
    return out.getvalue().split("\n")[:-1]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("sta", ["status"]),
        ("les", ["lessons"]),
        ("lesson.smallest", ["lesson.smallest_effect="]),
        ("--vers", ["--version"]),
        ("data ", ["prepare", "show", "stats", "verify", "architecture="]),
        ("data show obj", ["objective="]),
        ("status --js", ["--json"]),
        ("-m --config-d", ["--config-dir"]),
        ("status -m --json obj", ["objective="]),
        ("gc ", ["runs_dir="]),
        ("retry -m objective=causal,span", ["causal,span_corruption"]),
        ("run optimizer.learn", ["optimizer.learning_rate="]),
        ("mixture.pack", ["mixture.packing="]),
        ("+optimizer.learn", ["+optimizer.learning_rate="]),
        ("completion ", ["bash", "zsh", "fish"]),
        ("nothing_like_it", []),
    ],
)
def test_words_are_completed(words: str, found: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    answers = completed(words, monkeypatch)
    assert [answer for answer in answers if answer in found] == found
    assert all(answer.startswith(words.split(" ")[-1].rpartition("=")[2]) for answer in answers)
    if not found:
        assert answers == []


def test_shells_are_told_in_their_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    assert completed("-m objective=causal,pre", monkeypatch, "fish") == ["plain,objective=causal,prefix"]
    assert completed("stat", monkeypatch, "zsh") == ["plain", "status", VERBS["status"].help]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell: str, tmp_path: Path) -> None:
    done = run_in_process(tmp_path, "completion", shell)
    assert done.returncode == 0
    assert f"_ABLATE_COMPLETE={shell}_complete" in done.stdout
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=done.stdout, text=True).returncode == 0
        return
    # What click's own scripts lack: no space after `group=`, and commas in a value.
    assert {"zsh": "compadd -S '' -U", "fish": 'string split -m 1 ","'}[shell] in done.stdout


def test_cfg_prints_what_a_command_composes(tmp_path: Path) -> None:
    done = run_in_process(tmp_path, "objective=prefix", "--cfg", "job")
    assert done.returncode == 0
    assert "fraction_max: 1.0" in done.stdout
    assert run_in_process(tmp_path, "--cfg", "job", "status", "objective=prefix", "-m").returncode == 2
    assert run_in_process(tmp_path, "objective=prefix", "--cfg=job", "--package=budget").stdout.startswith("# @package")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("--dry-run -m objective=causal,prefix replicates=2", "2 arms × 2 seeds, 4 trials, 4 to run"),
        ("run objective=prefix --dry-run", "1 arm × 1 seed, 1 trial, 1 to run"),
        ("experiment=lesson3_mixed_objective --dry-run replicates=2", "arms × 2 seeds"),
        (
            "-m sweeps=learning_rate objective=causal,prefix --dry-run",
            "2 arms × 16 candidates of optimizer.learning_rate",
        ),
    ],
)
def test_a_dry_run_shows_the_grid_and_leaves_the_ledger_alone(words: str, shown: str, tmp_path: Path) -> None:
    write_text(tmp_path / "text", 40, seed=0)
    done = run_in_process(tmp_path, *with_tiny(tmp_path, *words.split()))
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout
    assert done.stdout.endswith("Dry run: nothing was run, and nothing written into the ledger.\n")
    assert not (tmp_path / "runs").exists()


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
    "hardware=cluster": "budget.rows_per_step=16",
    "hardware=gpu_8": "budget.rows_per_step=8",
    "mixture=own": "mixture.weights={code:1,english:1}",
    "mixture=text": "corpus=files corpus.sources.text.files.path=/tmp",
    "tokenizer=file": "tokenizer.path=/tmp tokenizer.vocab_size=400",
    "tokenizer=hub": "tokenizer.path=/tmp tokenizer.vocab_size=400",
    "architecture=encoder_decoder": "objective=span_corruption",
    "objective=ul2": "scale=4m tokenizer.mask_sentinels=75",
    "objective=ul2_modes": "scale=4m tokenizer.mask_sentinels=75",
}


CHOICES = [f"{group}={path.stem}" for group in groups() for path in sorted((CONF / group).glob("[!_]*.yaml"))]


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes_and_is_sound(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # tracking=online needs somebody who is logged in.
    monkeypatch.setattr("ablate.grid.check.has_login", lambda: True)
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
