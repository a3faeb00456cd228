"""`python -m ablate [verb] …`. Imports nothing heavy before a verb needs it."""

import os
import sys
import traceback
from collections.abc import Callable

from ablate import CONF
from ablate.errors import UsageError, UserError

GROUPS = (
    "architecture",
    "block",
    "scale",
    "objective",
    "infill",
    "mixture",
    "corpus",
    "cleaning",
    "tokenizer",
    "budget",
    "optimizer",
    "schedule",
    "evaluation",
    "tracking",
    "hardware",
    "preparation",
    "experiment",
    "sweeps",
)
VERBS = {
    "run": "train what is missing and end in the lesson (the default)",
    "status": "how far each trial is; --json, --once, --all",
    "lessons": "print and write the lesson again: of the newest grid, of ids or names, of overrides; --html: one page",
    "paper": "all tables and figures of named lessons, from logs alone: runs_dir=PATH wandb=… out=DIR archive=DIR",
    "dashboard": "a W&B workspace of the lessons: its spec, or with --save in W&B; project=ENTITY/PROJECT",
    "data": "prepare, show (rows as a model reads them), stats or verify the text of a grid's overrides",
    "why": "what makes two trials two: two trial ids, or one and another trial's overrides",
    "diff": "everything in which two trials differ: configuration, code, machine, results",
    "retry": "plan again what failed or diverged, and with -m run it; --fresh: from the beginning",
    "export": "a finished trial as a folder that transformers opens: TRIAL DIR; --qkv-groups 8 for CodeGen2's own code",
    "gc": "what of the ledger can go; --delete removes it, --trials takes trials that no grid or sweep names",
}
# Verbs that a grid's overrides may follow, and the flags of theirs that may stand among them.
OF_A_GRID: dict[str, tuple[str, ...]] = {
    "run": (),
    "status": ("--json", "--once", "--all"),
    "lessons": ("--html",),
    "why": (),
    "retry": ("--fresh",),
    "data": ("--markdown",),
}
DATA_SUBJECTS = ("prepare", "show", "stats", "verify")
# Of them, those that also take names among the overrides.
TAKE_NAMES = ("why", "data")
# Hydra's own flags that print something and run nothing, and those that may stand beside them.
PRINTING_FLAGS = ("--cfg", "--info", "--hydra-help", "--version")
FLAGS = ("-m", "--multirun", "--help", "-h", "--package", "--resolve", "--config-dir", *PRINTING_FLAGS)
TAKE_A_VALUE = ("--cfg", "--package", "--config-dir", "--info")


def help_text() -> str:
    """What `--help` prints."""
    lines = [
        "ablate: change one thing in pre-training, train again, and get a verdict that holds.",
        "",
        "  python -m ablate -m objective=causal,prefix,mixed     a grid: arms × 3 seeds, then the lesson",
        "  python -m ablate experiment=lesson2_infill            a lesson declared in conf/experiment",
        "  python -m ablate -m sweeps=learning_rate objective=causal,mixed    the same, each arm tuned before",
        "  python -m ablate objective=mixed budget=smoke         one trial",
        "  python -m ablate status                               how far each trial is",
        "  python -m ablate lessons                              the newest grid's lesson again",
        "",
        "Verbs (the first word):",
        *(f"  {verb:<11}{text}" for verb, text in VERBS.items()),
        "",
        "Options (group=choice; several choices with -m make arms; the first is the default):",
    ]
    defaults = _default_choices()
    for group in GROUPS:
        names = sorted(path.stem for path in (CONF / group).glob("[!_]*.yaml"))
        choices = sorted(names, key=lambda name: name != defaults[group])
        lines.append(f"  {group:<14}{', '.join(choices)}")
    lines += [
        "",
        "Any value below them: budget.train_tokens=1e6 optimizer.learning_rate=1e-3 seed=0,1,2 replicates=5",
        "  precision=bf16 runs_dir=PATH cache_dir=PATH lesson.smallest_effect=0.01 lesson.baseline=causal",
        "Grids that are no full product: 'hydra.sweeper.exclude=[{architecture: causal_decoder, objective: mixed}]',",
        "  'hydra.sweeper.zip=[[scale, optimizer.learning_rate]]'",
        "Flags:  -m  grid     --cfg job  print the composed configuration     --hydra-help  Hydra's own flags",
        f"Defaults: {CONF}",
    ]
    return "\n".join(lines)


def _default_choices() -> dict[str, str]:
    import yaml

    entries = yaml.safe_load((CONF / "config.yaml").read_text())["defaults"]
    return {group: choice for entry in entries if isinstance(entry, dict) for group, choice in entry.items()}


def main() -> int:
    """Runs the command line and returns its exit code."""
    arguments = sys.argv[1:]
    verb = arguments.pop(0) if arguments and arguments[0] in VERBS else "run"
    if "--help" in arguments or "-h" in arguments:
        print(help_text())
        return 0
    try:
        return _told(lambda: _dispatch(verb, arguments))
    except KeyboardInterrupt:
        return 130


def _dispatch(verb: str, arguments: list[str]) -> int:
    # An experiment and a sweep are grids by themselves, and so are the words after a verb that name one.
    is_grid = bool({"-m", "--multirun"} & set(arguments)) or any(
        word.startswith(("experiment=", "sweeps=")) for word in arguments
    )
    if not (verb == "run" or is_grid or _composes_one(verb, arguments)):
        from importlib import import_module

        code: int = import_module(f"ablate.verbs.{verb}").main(arguments)
        return code
    if verb not in OF_A_GRID:
        raise UsageError(f"{verb} takes no grid. Leave -m out.")
    names, arguments = _apart(verb, arguments)
    _check_words(arguments)
    printing = any(word in PRINTING_FLAGS for word in arguments)
    if printing and {"-m", "--multirun"} & set(arguments):
        raise UsageError("-m runs a grid and --cfg prints one configuration: leave one of them out.")
    from ablate.grid.command import run_hydra

    return run_hydra(verb, arguments, names, printing=printing)


def _composes_one(verb: str, arguments: list[str]) -> bool:
    """Whether a verb composes one trial without -m: `why TRIAL key=value …` and `data prepare …` do."""
    if verb == "data":
        return arguments[:1] in [[subject] for subject in DATA_SUBJECTS]
    return verb == "why" and any("=" in word and not word.startswith("runs_dir=") for word in arguments)


def _apart(verb: str, arguments: list[str]) -> tuple[list[str], list[str]]:
    """The verb's own words, and what composes its grid."""
    names: list[str] = []
    composing: list[str] = []
    for before, word in zip(["", *arguments], arguments, strict=False):
        is_name = verb in TAKE_NAMES and "=" not in word and not word.startswith(("-", "~"))
        is_own = before not in TAKE_A_VALUE and (is_name or word in OF_A_GRID[verb])
        (names if is_own else composing).append(word)
    return names, composing


def _check_words(arguments: list[str]) -> None:
    """Refuses a word that is neither an option (key=value, ~key) nor a flag that we know."""
    from ablate.errors import nearest

    for before, word in zip(["", *arguments], arguments, strict=False):
        if before in TAKE_A_VALUE:
            continue
        if word.startswith("-"):
            if word not in FLAGS:
                raise UsageError(f"{word}: no such flag. {nearest(word, FLAGS)}")
        elif "=" not in word and not word.startswith("~"):
            place = f"no such verb. {nearest(word, VERBS)}" if word == arguments[0] else "what should it be?"
            raise UsageError(f"{word}: {place} Options have the form key=value.")


def _told(work: Callable[[], int]) -> int:
    """Turns what a user can mend into one message and an exit code; ABLATE_DEBUG=1 shows the traceback."""
    try:
        return work()
    except Exception as error:
        code = getattr(error, "exit_code", 1)
        message = str(error)
        if not isinstance(error, UserError | OSError | RuntimeError):
            message = f"{type(error).__name__}: {error}\nThis looks like a fault of ablate. ABLATE_DEBUG=1 shows where."
        if os.environ.get("ABLATE_DEBUG") == "1":
            traceback.print_exc()
    print(f"ablate: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
