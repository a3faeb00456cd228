"""The verbs of the command line: what each does, takes and composes. Imports nothing heavy.

The module `ablate.verbs.NAME` has `main(arguments)` for the forms about a ledger, `of_grid(grid, names, launcher,
console)` for the grid that overrides compose, and `of_tuning(tuning, …)` for the tuning of such a grid. All return
the exit code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from ablate.verbs.flag import CONFIG_DIR, HYDRA_FLAGS, Flag

# As messages and help spell it; the script `ablate` does the same.
PROGRAM = "python -m ablate"


class Composes(Enum):
    """What Hydra composes for a verb."""

    NOTHING = "nothing"
    TRIAL = "a trial"
    GRID = "a grid"


@dataclass(frozen=True)
class Verb:
    """One verb.

    Attributes:
        usage: its forms, without the program and the verb.
        examples: commands, without the program.
        is_for_ledger: whether it has a form that composes nothing.
        takes: words and their meanings; NAME=VALUE is a setting.
        choices: the values of the first word and their meanings, where these are fixed.
        runs_dir: the default of runs_dir=PATH.
    """

    name: str
    help: str
    usage: tuple[str, ...]
    examples: tuple[str, str]
    composes: Composes = Composes.NOTHING
    is_for_ledger: bool = True
    takes: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[Flag, ...] = ()
    choices: Mapping[str, str] = field(default_factory=dict)
    runs_dir: str = "runs"

    @property
    def settings(self) -> frozenset[str]:
        """The keys of its settings."""
        return frozenset(word.partition("=")[0] for word in self.takes if "=" in word)

    @property
    def all_flags(self) -> tuple[Flag, ...]:
        """Its flags, and Hydra's if it composes."""
        return (*self.flags, *((CONFIG_DIR,) if self.composes is Composes.NOTHING else HYDRA_FLAGS))


RUNS_DIR = {"runs_dir=PATH": "the folder of the ledger (default: runs)"}
LOGS = {
    "runs_dir=PATH": "a ledger, or an archive such as analysis/data (default: runs)",
    "wandb=SOURCE": "read the numbers from W&B: offline (its files in the ledger) or ENTITY/PROJECT",
}
OVERRIDES = {
    "KEY=VALUE": f"changes the configuration, as objective=prefix does; `{PROGRAM} --help` lists groups and choices"
}
JSON = Flag(("--json",), "print JSON for programs (docs/reference/json.md)")
EXAMPLE_ID = "5efe20c55adc"

_TABLE = (
    Verb(
        "run",
        "train the trials that are missing, then print the lesson (the default verb)",
        ("[KEY=VALUE …]", "-m KEY=VALUE,VALUE …", "experiment=NAME"),
        ("-m objective=causal,prefix replicates=5", "experiment=lesson2_infill --dry-run"),
        Composes.GRID,
        is_for_ledger=False,
        flags=(
            Flag(("--dry-run",), "show arms, trials, what would run, and scripts for a cluster; write nothing"),
            Flag(("--detach",), "submit the trials to a cluster and return; the same command comes back to them"),
        ),
    ),
    Verb(
        "plan",
        "predict what the missing trials of a grid or tuning take: FLOPs, memory, device hours, price and disk",
        ("[KEY=VALUE …]", "-m KEY=VALUE,VALUE …", "experiment=NAME", "-m sweeps=NAME …"),
        ("plan -m objective=causal,prefix", "plan experiment=lesson2_infill hardware=gpu --device H100 --budget 300h"),
        Composes.GRID,
        is_for_ledger=False,
        flags=(
            Flag(("--device",), "which GPU it will run on", "NAME", ("A100", "H100", "H200", "B200")),
            Flag(("--fit",), "with --device: find micro-batches, checkpointing or sharding with which a step fits"),
            Flag(("--measure",), "measure 20 steps here of each shape whose speed the ledger does not know"),
            Flag(("--budget",), "exit with 1 if more is expected at the first look: 300h or 5000usd", "AMOUNT"),
            JSON,
        ),
    ),
    Verb(
        "status",
        "show each trial's state, progress, loss and ETA",
        ("[ID …] [runs_dir=PATH]", "-m KEY=VALUE …"),
        ("status", "status -m objective=causal,prefix --json"),
        Composes.GRID,
        takes={"ID": "a trial, grid or tuning; a trial's first digits are enough (default: every trial)", **RUNS_DIR},
        flags=(
            JSON,
            Flag(("--once",), "print once and return, although trials are running"),
            Flag(("--all",), "list every submitted and finished trial, however many"),
        ),
    ),
    Verb(
        "lessons",
        "print and rewrite lessons",
        ("[NAME …] [runs_dir=PATH] [wandb=SOURCE]", "-m KEY=VALUE …"),
        ("lessons", "lessons lesson2_infill --html"),
        Composes.GRID,
        takes={"NAME": "a grid's id or a lesson's name (default: the newest grid; with --html, all)", **LOGS},
        flags=(
            Flag(
                ("--notes",),
                "print the notes too (caveats, intervals, training, meanings), and the primary metric on each source",
            ),
            Flag(("--html",), "write one page with everything, lessons.html, instead of printing tables"),
            JSON,
        ),
    ),
    Verb(
        "paper",
        "write the tables and figures of all named lessons, from logs alone",
        ("[runs_dir=PATH] [wandb=SOURCE] [out=DIR] [archive=DIR] [published=FILE]",),
        ("paper", "paper runs_dir=runs out=paper archive=paper/data"),
        takes={
            **LOGS,
            "runs_dir=PATH": "a ledger or an archive (default: analysis/data)",
            "out=DIR": "where to write (default: analysis/out)",
            "archive=DIR": "keep the compact logs there that the lessons need",
            "published=FILE": "results of another paper to compare with (default: analysis/codegen2.yaml)",
        },
        runs_dir="analysis/data",
    ),
    Verb(
        "restore",
        "put the trials and grids of an archive into a ledger, so that grids go on where it ends",
        ("FOLDER [runs_dir=PATH]",),
        ("restore analysis/data", "restore paper/data runs_dir=runs"),
        takes={"FOLDER": f"an archive, as `{PROGRAM} paper archive=FOLDER` writes", **RUNS_DIR},
    ),
    Verb(
        "sync",
        "upload trials to W&B, each as one run",
        ("[NAME …] [runs_dir=PATH] [project=ENTITY/PROJECT]",),
        ("sync lesson2_infill", "sync project=my-team/ablate"),
        takes={
            "NAME": "a trial, a grid or tuning, or a lesson's name (default: every trial of the ledger that has ended)",
            **RUNS_DIR,
            "project=ENTITY/PROJECT": "where to (default: tracking.project of the trials)",
        },
    ),
    Verb(
        "dashboard",
        "describe or save a W&B workspace for the lessons",
        ("[NAME …] [runs_dir=PATH] [project=ENTITY/PROJECT]",),
        ("dashboard lesson2_infill", "dashboard --save project=my-team/ablate"),
        takes={
            "NAME": "a grid's id or a lesson's name (default: all named lessons, or the newest grid)",
            **RUNS_DIR,
            "project=ENTITY/PROJECT": "the W&B project that has the trials",
        },
        flags=(
            Flag(("--save",), "save the workspace in W&B, where you are logged in"),
            Flag(("--json",), "print the workspace as the JSON that W&B stores"),
        ),
    ),
    Verb(
        "data",
        "prepare, inspect or verify the text that a grid reads",
        ("prepare|stats|verify [KEY=VALUE …]", "show [ROW …] [KEY=VALUE …]"),
        ("data prepare corpus=files mixture=text corpus.sources.text.files.path=~/text", "data show 0 7"),
        Composes.GRID,
        is_for_ledger=False,
        choices={
            "prepare": "read, clean and tokenize the corpus",
            "show": "print rows as a model reads them; without numbers, the first row of each kind",
            "stats": "print the contents of the corpus, and how it fills rows",
            "verify": "compare every prepared file with its SHA-256",
        },
        flags=(Flag(("--markdown",), "stats: print the data card"),),
    ),
    Verb(
        "diff",
        "explain why two trials have different ids, and list all other differences",
        ("ID ID [runs_dir=PATH]", "ID KEY=VALUE …"),
        (f"diff {EXAMPLE_ID} 3cfc2e88b8d7", f"diff {EXAMPLE_ID} objective=mixed seed=0"),
        Composes.TRIAL,
        takes={"ID": "a trial; its first digits are enough", **RUNS_DIR},
        flags=(JSON, Flag(("--all",), "list every key that differs, also below a config group with another choice")),
    ),
    Verb(
        "retry",
        "reset failed and diverged trials; with -m, also run them",
        ("ID … [runs_dir=PATH]", "-m KEY=VALUE …"),
        (f"retry {EXAMPLE_ID}", "retry -m objective=causal,mixed"),
        Composes.GRID,
        takes={"ID": "a trial, grid or tuning", **RUNS_DIR},
        flags=(
            Flag(("--fresh",), "start from the beginning, not from the last checkpoint"),
            Flag(("--detach",), "with -m: submit the trials to a cluster and return"),
        ),
    ),
    Verb(
        "cancel",
        "end submitted and running trials; they save first, and the command of their grid continues with them",
        ("ID … [runs_dir=PATH]", "-m KEY=VALUE …"),
        (f"cancel {EXAMPLE_ID}", "cancel -m objective=causal,mixed"),
        Composes.GRID,
        takes={"ID": "a trial, grid or tuning, or a lesson's name", **RUNS_DIR},
        flags=(Flag(("--now",), "end running trials at once, without a save"),),
    ),
    Verb(
        "export",
        "write a finished trial as a folder that transformers opens",
        ("ID DIR [runs_dir=PATH]",),
        (f"export {EXAMPLE_ID} my-model", f"export {EXAMPLE_ID} my-model --qkv-groups 8"),
        takes={"ID": "a finished trial", "DIR": "a folder that is new or empty", **RUNS_DIR},
        flags=(
            Flag(("--qkv-groups",), "groups of CodeGen's fused projection: 4 (default), or 8 for CodeGen2's code", "N"),
        ),
    ),
    Verb(
        "generate",
        "print the text that a finished trial writes after a prompt",
        ("ID [--prompt TEXT] [--suffix TEXT] [runs_dir=PATH]",),
        (
            f"generate {EXAMPLE_ID} --prompt 'def area(radius):'",
            f"generate {EXAMPLE_ID} --prompt 'x = ' --suffix ' + 1' --temperature 0.8 --top-p 0.95",
        ),
        takes={"ID": "a finished trial; its first digits are enough", **RUNS_DIR},
        flags=(
            Flag(("--prompt",), "the text before; - reads standard input (default: the start of a document)", "TEXT"),
            Flag(("--suffix",), "the text after what is written, for a trial that was trained to infill", "TEXT"),
            Flag(("--max-tokens",), "when to end (default: what the context has room for, at most 128)", "N"),
            Flag(("--temperature",), "sample with this temperature; 0, the default, takes the likeliest token", "T"),
            Flag(("--top-p",), "sample from the fewest tokens with this probability together (default: 1)", "P"),
            Flag(("--seed",), "of the samples (default: 0)", "N"),
        ),
    ),
    Verb(
        "evaluate",
        "score finished trials by more suites, without training",
        ("suites=NAME[,NAME] ID … [KEY=VALUE …] [runs_dir=PATH]", "suites=NAME[,NAME] model=FOLDER [KEY=VALUE …]"),
        (
            f"evaluate suites=humaneval trial={EXAMPLE_ID}",
            "evaluate suites=humaneval,lm_eval:arc_easy lesson2_infill evaluation.suites.humaneval.samples=100",
        ),
        takes={
            "suites=NAME": "suites, as in evaluation=[NAME,NAME]; after lm_eval: tasks of lm-evaluation-harness",
            "ID": "a finished trial, a grid, lesson or tuning, or an arm's label",
            "trial=ID": "the same",
            "model=FOLDER": "a model of transformers instead, CodeGen or Llama; KEY=VALUE also says how it was trained",
            "KEY=VALUE": "changes a suite's parameters or the hardware: evaluation.suites.NAME.KEY=VALUE, hardware=gpu",
            "launcher=NAME": "where: local (default), slurm or ray, with launcher.KEY=VALUE; a job per trial",
            **RUNS_DIR,
        },
    ),
    Verb(
        "gc",
        "list files that can be deleted; --delete deletes them",
        ("[runs_dir=PATH]",),
        ("gc", "gc --trials --delete"),
        takes=RUNS_DIR,
        flags=(
            Flag(("--delete",), "delete what is listed"),
            Flag(("--trials",), "also whole trials that no grid or tuning names"),
        ),
    ),
    Verb(
        "completion",
        "print the script that makes a shell complete the words after `ablate`",
        ("bash|zsh|fish",),
        ("completion bash", "completion fish"),
        choices={
            "bash": f'in ~/.bashrc: eval "$({PROGRAM} completion bash)"',
            "zsh": f'in ~/.zshrc: eval "$({PROGRAM} completion zsh)"',
            "fish": f"in config.fish: {PROGRAM} completion fish | source",
        },
    ),
)
VERBS = {verb.name: verb for verb in _TABLE}

# Hydra's and other programs' flags, and what to type instead.
INSTEAD = {
    **dict.fromkeys(("-sc", "--shell-completion"), f"Type {PROGRAM} completion bash (or zsh, fish)."),
    **dict.fromkeys(("-c", "-cfg"), "Type --cfg job."),
    "-p": "Type --package KEY, with --cfg job.",
    "-i": "Type --info all.",
    "-cd": "Type --config-dir DIR.",
    **dict.fromkeys(("-r", "--run"), "Leave it out: without -m, one trial runs."),
    **dict.fromkeys(
        ("-cn", "--config-name", "-cp", "--config-path"),
        "ablate has one configuration. Type --config-dir DIR to add choices to its groups.",
    ),
    "--experimental-rerun": "Repeat the command: it runs what is missing.",
    **dict.fromkeys(("-v", "-V", "--version"), f"Type {PROGRAM} --version."),
}
