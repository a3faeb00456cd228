"""The command line as click commands, built from the verb table. Imports nothing heavy before a verb needs it."""

import re
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from ablate import CONF, __version__
from ablate.config.options import choices_of, groups, keys
from ablate.errors import UsageError, nearest
from ablate.grid.unknown_key import check_names
from ablate.verbs.completion import complete_word, completer
from ablate.verbs.flag import HYDRA_FLAGS, PRINTING, Flag
from ablate.verbs.table import INSTEAD, OVERRIDES, PROGRAM, VERBS, Composes, Verb

SETTINGS = {"help_option_names": ["--help", "-h"], "max_content_width": 120}
HELP = Flag(("--help", "-h"), "print this help")
HYDRA_NAMES = [name for flag in HYDRA_FLAGS for name in flag.names]


def run_command_line(arguments: list[str]) -> int:
    """Run one command and return its exit code.

    Raises:
        UserError: the command is wrong or its work failed.
    """
    try:
        with _Ablate("ablate").make_context("ablate", arguments) as context:
            code: int = context.command.invoke(context)
            return code
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.BadOptionUsage as error:
        raise UsageError(_bad_value(error.option_name, arguments)) from None
    except click.BadParameter as error:
        raise UsageError(_bad_choice(error, arguments)) from None
    except click.NoSuchOption as error:
        raise _no_such_flag(error, arguments) from None
    except click.UsageError as error:
        raise UsageError(error.format_message()) from None


def _no_such_flag(error: click.NoSuchOption, arguments: list[str]) -> UsageError:
    verb, flag = VERBS[str(error.ctx.command.name)] if error.ctx else VERBS["run"], error.option_name
    # click reads -sc as -s -c.
    if not flag.startswith("--"):
        flag = next((word for word in arguments if re.match("-[^-]", word) and flag[1] in word), flag)
    if flag in HYDRA_NAMES:
        return UsageError(f"{verb.name} takes no grid. Leave {flag} out.")
    words = flag if verb.name == "run" else f"{verb.name} {flag}"
    if re.match(r"-\d", flag):
        return UsageError(f"{words}: is read as a flag. Rows and ids have no minus sign.")
    if flag in INSTEAD:
        return UsageError(f"{words}: no such flag. {INSTEAD[flag]}")
    allowed = [name for allowed in (*verb.all_flags, HELP) for name in allowed.names]
    return UsageError(f"{words}: no such flag. {nearest(flag, allowed)}")


def _bad_value(name: str, arguments: list[str]) -> str:
    """Return the message for a flag without its value, or a switch with one."""
    [flag] = [flag for verb in VERBS.values() for flag in verb.all_flags if name in flag.names][:1]
    if not flag.value:
        typed = next((word for word in arguments if word.startswith(f"{name}=")), name)
        return f"{typed}: takes no value. Type {name}"
    return f"{name}: needs a value. Type {name} {flag.choices[0] if flag.choices else flag.value}"


def _bad_choice(error: click.BadParameter, arguments: list[str]) -> str:
    assert isinstance(error.param, click.Option)
    assert isinstance(error.param.type, click.Choice)
    name, choices = error.param.opts[0], list(error.param.type.choices)
    typed = [word for before, word in pairwise(["", *arguments]) if name in (before, word.partition("=")[0])]
    value = typed[-1].removeprefix(f"{name}=")
    return f"{name} {value}: no such choice. {nearest(value, choices)} Type {name} {choices[0]}"


class _Ablate(click.Group):
    """The program. The verb `run` may be left out; without any word it prints the help."""

    def __init__(self, name: str) -> None:
        version = click.Option(["--version"], is_flag=True, expose_value=False, is_eager=True, callback=_print_version)
        super().__init__(name, params=[version], context_settings=SETTINGS)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the verb first: Hydra's flags may stand before it."""
        if not args and not ctx.resilient_parsing:
            args = ["--help"]
        elif "--" in args:
            raise UsageError("--: not needed here. Leave it out.")
        elif args and args[0] not in (*HELP.names, "--version"):
            place = _place_of_verb(args)
            args = ["run", *args] if place is None else [args[place], *args[:place], *args[place + 1 :]]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the verbs in the order of the help."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """Build the command of a verb."""
        return _VerbCommand(VERBS[cmd_name])

    def get_help(self, ctx: click.Context) -> str:
        """Return the overview."""
        return overview()

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[Any]]:
        """Complete a verb, or the first word of `run`."""
        verbs = [CompletionItem(name, help=verb.help) for name, verb in VERBS.items() if name.startswith(incomplete)]
        flags = click.Command.shell_complete(self, ctx, incomplete)
        flags += self.get_command(ctx, "run").shell_complete(ctx, incomplete)
        return [*verbs, *flags, *complete_word(VERBS["run"], (), incomplete)]


def _place_of_verb(arguments: list[str]) -> int | None:
    takes_value = [name for flag in HYDRA_FLAGS if flag.value for name in flag.names]
    words = iter(enumerate(arguments))
    for place, word in words:
        if not word.startswith("-"):
            return place if word in VERBS else None
        if word in takes_value:
            next(words, None)
    return None


def _print_version(ctx: click.Context, option: click.Parameter, is_given: bool) -> None:
    if is_given and not ctx.resilient_parsing:
        click.echo(f"ablate {__version__}")
        ctx.exit()


class _VerbCommand(click.Command):
    """A verb of the table."""

    def __init__(self, verb: Verb) -> None:
        def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
            return complete_word(verb, ctx.params.get("words") or (), incomplete)

        flags = [
            click.Option(
                [*flag.names, flag.parameter],
                is_flag=None if flag.value else True,
                type=click.Choice(flag.choices) if flag.choices else None,
            )
            for flag in verb.all_flags
        ]
        words = click.Argument(["words"], nargs=-1, type=click.UNPROCESSED, shell_complete=complete)
        super().__init__(verb.name, params=[*flags, words], context_settings=SETTINGS)
        self.verb = verb

    def invoke(self, ctx: click.Context) -> int:
        """Run the verb."""
        flags = {flag.names[0]: ctx.params[flag.parameter] for flag in self.verb.all_flags}
        return _dispatch(self.verb, list(ctx.params["words"]), {name: value for name, value in flags.items() if value})

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the usage of the verb, its words and flags, and examples."""
        verb = self.verb
        usage = "\n       ".join(f"{PROGRAM} {verb.name} {form}" for form in verb.usage)
        formatter.write(f"Usage: {usage}\n\n{verb.help[0].upper()}{verb.help[1:]}.\n")
        composes = verb.composes is not Composes.NOTHING
        words = {**verb.choices, **verb.takes, **(OVERRIDES if composes else {})}
        for title, rows in (
            ("Takes", list(words.items())),
            ("Flags", _records((*verb.flags, HELP))),
            ("Hydra's flags", _records(HYDRA_FLAGS) if composes else []),
        ):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
        with formatter.section("Examples"):
            for example in verb.examples:
                formatter.write(f"  {PROGRAM} {example}\n")


def _records(flags: tuple[Flag, ...]) -> list[tuple[str, str]]:
    return [(f"{', '.join(flag.names)} {flag.value}".strip(), flag.help) for flag in flags]


def _dispatch(verb: Verb, words: list[str], flags: dict[str, Any]) -> int:
    _check_flags(flags)
    if "--hydra-help" in flags:
        from ablate.verbs.hydra_help import hydra_help

        print(hydra_help())
        return 0
    is_grid = "-m" in flags
    # An experiment and a search space are grids by themselves.
    names_grid = is_grid or any(word.startswith(("experiment=", "sweeps=")) for word in words)
    if verb.composes is Composes.NOTHING and names_grid:
        raise UsageError(f"{verb.name} takes no grid. Leave {'-m' if is_grid else 'experiment= and sweeps='} out.")
    keys = {word.partition("=")[0] for word in words if "=" in word}
    composes_one = verb.composes is Composes.TRIAL and not keys <= verb.settings
    hydra = {name: value for name, value in flags.items() if name in HYDRA_NAMES}
    own = {name: value for name, value in flags.items() if name not in HYDRA_NAMES}
    is_printing = any(name in PRINTING for name in hydra)
    if verb.is_for_ledger and not (names_grid or composes_one or is_printing):
        from ablate.verbs.arguments import Arguments

        code: int = import_module(f"ablate.verbs.{verb.name}").main(Arguments.of(verb, words, own))
        return code
    takes_names = bool(verb.choices) or verb.composes is Composes.TRIAL
    names = [word for word in words if takes_names and "=" not in word and not word.startswith("~")]
    if verb.choices and names[:1] not in [[choice] for choice in verb.choices]:
        if not names:
            raise UsageError(f"{verb.name}: needs one of {', '.join(verb.choices)} after it.")
        raise UsageError(f"{verb.name} {names[0]}: unknown. {nearest(names[0], verb.choices)}")
    overrides = [word for word in words if word not in names]
    _check_overrides(overrides)
    # Other folders have choices and keys of their own.
    if "--config-dir" not in hydra and not any("searchpath" in word for word in overrides):
        check_names(overrides)
    from ablate.grid.command import run_hydra

    typed = [name if value is True else f"{name}={value}" for name, value in own.items()]
    return run_hydra(verb.name, hydra, overrides, [*names, *typed])


def _check_flags(flags: dict[str, Any]) -> None:
    """Make --config-dir absolute. Raises UsageError for Hydra's flags where they would do nothing."""
    if "-m" in flags and any(name in flags for name in PRINTING):
        raise UsageError("-m runs a grid and --cfg prints one configuration: leave one of them out.")
    for name in ("--package", "--resolve"):
        if name in flags and "--cfg" not in flags:
            raise UsageError(f"{name}: is for --cfg. Type --cfg job {name}{' KEY' if name == '--package' else ''}")
    if (folder := flags.get("--config-dir")) is not None:
        flags["--config-dir"] = str(Path(folder).expanduser().absolute())
        if not Path(flags["--config-dir"]).is_dir():
            raise UsageError(f"--config-dir {folder}: is no folder. It takes one that has DIR/objective/mine.yaml.")


def _check_overrides(words: list[str]) -> None:
    """Raise UsageError for a word that is neither KEY=VALUE nor ~KEY."""
    for word in words:
        if word.lstrip("+").startswith("="):
            raise UsageError(f"{word}: has no key. Options have the form key=value.")
        if "=" in word or word.startswith("~"):
            continue
        if word in VERBS:
            raise UsageError(f"{word}: a verb comes first: {PROGRAM} {word} …")
        if word in groups() or word in keys():
            raise UsageError(f"{word}: has no value. Type {word}=VALUE.")
        problem = f"no such verb. {nearest(word, VERBS)}" if word == words[0] else "is no option."
        raise UsageError(f"{word}: {problem} Options have the form key=value.")


def overview() -> str:
    """Return the help of the program: verbs, config groups and their choices."""
    examples = {
        "-m objective=causal,prefix,mixed": "a grid: arms × 4 to 12 seeds, then the lesson",
        "experiment=lesson2_infill": "a lesson declared in conf/experiment",
        "-m sweeps=learning_rate objective=causal,mixed": "the same, each arm tuned before",
        "objective=mixed budget=smoke": "one trial",
        "status": "each trial's state, progress, loss and ETA",
        "lessons": "the newest grid's lesson again",
    }
    return "\n".join(
        [
            "ablate: change one thing in pre-training, train again, and get a verdict that holds.",
            "",
            *(f"  {PROGRAM} {words:<48}{text}" for words, text in examples.items()),
            "",
            f"`ablate …` does the same as `{PROGRAM} …`.",
            "",
            f"Verbs (the first word; `{PROGRAM} VERB --help` prints a verb's own help):",
            *(f"  {verb.name:<12}{verb.help}" for verb in VERBS.values()),
            "",
            "Options (group=choice; several choices with -m make arms; the first is the default):",
            *(f"  {group:<14}{', '.join(choices_of(group))}" for group in groups()),
            "",
            "Any value below them: budget.train_tokens=1e6 optimizer.learning_rate=1e-3 seed=0,1,2 replicates=5",
            "  precision=bf16 runs_dir=PATH cache_dir=PATH lesson.smallest_effect=0.01 lesson.baseline=causal",
            "Grids that are no full product:",
            "  'hydra.sweeper.exclude=[{architecture: causal_decoder, objective: mixed}]'",
            "  'hydra.sweeper.zip=[[scale, optimizer.learning_rate]]'",
            "Flags:  -m  grid     --cfg job  print the configuration     --hydra-help  overrides     --version",
            f"Defaults: {CONF}",
        ]
    )


def answer(instruction: str) -> int:
    """Print completions for a shell, as `bash_complete`; the environment has the words so far."""
    if words := completer(instruction.partition("_")[0], _Ablate("ablate")).complete():
        print(words)
    return 0
