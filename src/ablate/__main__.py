"""`python -m ablate [verb] …`. Imports nothing heavy before a verb needs it."""

import os
import sys
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
    "tokenizer",
    "budget",
    "optimizer",
    "schedule",
    "evaluation",
    "tracking",
    "hardware",
)
VERBS = {
    "run": "train what is missing and end in the lesson (the default)",
    "lessons": "print and write the lesson again: of the newest grid, of grid ids, or of a grid's overrides",
}
# Hydra's own flags that print something and run nothing.
PRINTING_FLAGS = ("--cfg", "-c", "--info", "-i", "--hydra-help", "--version", "--shell-completion", "-sc")


def help_text() -> str:
    """What `--help` prints."""
    lines = [
        "ablate: change one thing in pre-training, train again, and get a verdict that holds.",
        "",
        "  python -m ablate -m objective=causal,prefix,mixed     a grid: arms × 3 seeds, then the lesson",
        "  python -m ablate objective=mixed budget=smoke         one trial",
        "  python -m ablate lessons                              the newest grid's lesson again",
        "",
        "Verbs (the first word):",
        *(f"  {verb:<14}{text}" for verb, text in VERBS.items()),
        "",
        "Options (group=choice; several choices with -m make arms; the first is the default):",
    ]
    defaults = _default_choices()
    for group in GROUPS:
        choices = sorted(
            (path.stem for path in (CONF / group).glob("*.yaml")), key=lambda name: name != defaults[group]
        )
        lines.append(f"  {group:<14}{', '.join(choices)}")
    lines += [
        "",
        "Any value below them: budget.train_tokens=1e6 optimizer.learning_rate=1e-3 seed=0,1,2 replicates=5",
        "  precision=bf16 runs_dir=PATH cache_dir=PATH lesson.smallest_effect=0.01 lesson.baseline=causal",
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
    unknown = [word for word in arguments[:1] if not word.startswith(("-", "+", "~")) and "=" not in word]
    if verb == "run" and unknown:
        from ablate.config import nearest

        raise UsageError(f"{unknown[0]}: no such verb. {nearest(unknown[0], VERBS)} Options have the form key=value.")
    if verb == "lessons" and not {"-m", "--multirun"} & set(arguments):
        from ablate.grid.past import show_past_lessons

        return show_past_lessons(arguments)
    from ablate.grid.command import run_hydra

    return run_hydra(verb, arguments, printing=any(flag in arguments for flag in PRINTING_FLAGS))


def _told(work: Callable[[], int]) -> int:
    """Turns what a user can mend into one message and an exit code; ABLATE_DEBUG=1 shows the traceback."""
    if os.environ.get("ABLATE_DEBUG") == "1":
        return work()
    try:
        return work()
    except UserError as error:
        message, code = str(error), error.exit_code
    except (OSError, RuntimeError) as error:
        message, code = str(error), 1
    except Exception as error:
        message = f"{type(error).__name__}: {error}\nThis looks like a fault of ablate. ABLATE_DEBUG=1 shows where."
        code = 1
    print(f"ablate: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
