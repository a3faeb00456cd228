"""`completion`: the scripts that make shells complete a command, and the answers to them."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    split_arg_string,
)

from ablate.config.options import choices_of, groups, keys
from ablate.verbs.table import Composes, Verb

if TYPE_CHECKING:
    from ablate.verbs.arguments import Arguments

VARIABLE = "_ABLATE_COMPLETE"


def main(arguments: "Arguments") -> int:
    """Print the script of a shell. Raises UsageError."""
    if len(arguments.names) != 1 or arguments.names[0] not in SHELLS:
        raise arguments.error("takes one of bash, zsh, fish")
    print(completer(arguments.names[0], click.Command("ablate")).source(), end="")
    return 0


def completer(shell: str, program: click.Command) -> ShellComplete:
    """Return click's object that completes the words of a program."""
    return SHELLS[shell](program, {}, "ablate", VARIABLE)


def complete_word(verb: Verb, words: Sequence[str], incomplete: str) -> list[CompletionItem[Any]]:
    """Complete a word that is not a flag; `words` are those before it, without flags."""
    items = [CompletionItem(name, help=text) for name, text in verb.choices.items() if not words]
    items += [CompletionItem(f"{key}=") for key in sorted(verb.settings)]
    if verb.composes is not Composes.NOTHING:
        items += [CompletionItem(option) for option in _options(incomplete)]
    return [item for item in items if str(item.value).startswith(incomplete)]


def _options(incomplete: str) -> list[str]:
    key, has_value, value = incomplete.partition("=")
    prefix = key[: len(key) - len(key.lstrip("+~"))]
    group = key.removeprefix(prefix)
    if has_value:
        # The last of several choices is incomplete.
        before = value[: value.rfind(",") + 1]
        return [f"{key}={before}{choice}" for choice in choices_of(group)] if group in groups() else []
    shown = [key for key in keys() if "." in incomplete or "." not in key]
    return [f"{prefix}{name}=" for name in (*groups(), *shown)]


class _Bash(BashComplete):
    """Bash splits words at `=`, and replaces only what follows it."""

    source_template = """\
_ablate_completion() {
    local IFS=$'\\n'
    COMPREPLY=($(COMP_LINE="${COMP_LINE:0:COMP_POINT}" %(complete_var)s=bash_complete "$1"))
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o nosort -F _ablate_completion %(prog_name)s
"""

    def source(self) -> str:
        """Return the script, without click's check of the shell's version, which starts a shell."""
        return self.source_template % self.source_vars()

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor and the word at it."""
        line = os.environ["COMP_LINE"]
        _, *words = split_arg_string(line)
        return (words, "") if line[-1:].isspace() or not words else (words[:-1], words[-1])

    def complete(self) -> str:
        """Return what may follow the last `=` of the word."""
        words, incomplete = self.get_completion_args()
        start = incomplete.rfind("=") + 1
        return "\n".join(str(item.value)[start:] for item in self.get_completions(words, incomplete))


class _Zsh(ZshComplete):
    """A space is only added after words with a help text: verbs and flags, not `group=`."""

    source_template = ZshComplete.source_template.replace("compadd -U", "compadd -S '' -U")


class _Fish(FishComplete):
    """Values may have commas."""

    source_template = FishComplete.source_template.replace('string split ","', 'string split -m 1 ","')


SHELLS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}
