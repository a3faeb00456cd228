"""The verbs of the command line, from their table."""

import re

from ablate.verbs.flag import HYDRA_FLAGS, Flag
from ablate.verbs.table import PROGRAM, VERBS, Composes, Verb
from reference_pages.markdown import GENERATED, code, table

NETWORK = re.compile(r"--save|=online|project=")
INTRODUCTION = f"""# Verbs

{GENERATED}

`{PROGRAM} VERB …`, or `ablate VERB …`, which is the same. `run` is the default verb and may be left out. A verb takes
words, flags, and settings such as `runs_dir=PATH`. A verb that composes a trial or a grid also takes options
([options.md](options.md)). `{PROGRAM} VERB --help` prints a verb's own help.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | something failed: a trial, a file, the environment |
| 2 | the command is wrong; nothing ran |
| 130 | interrupted; the same command resumes |"""


def page() -> str:
    """The page."""
    parts = [INTRODUCTION, *map(_section, VERBS.values())]
    return "\n\n".join([*parts, "## Flags of verbs that compose", _flags(HYDRA_FLAGS)])


def _section(verb: Verb) -> str:
    usage = "\n".join(f"{PROGRAM} {verb.name} {form}" for form in verb.usage)
    parts = [f"## {verb.name}", f"{verb.help[0].upper()}{verb.help[1:]}.", f"```text\n{usage}\n```"]
    if words := {**verb.choices, **verb.takes}:
        parts.append(table(["word", "meaning"], [(code(word), meaning) for word, meaning in words.items()]))
    if verb.flags:
        parts.append(_flags(verb.flags))
    if verb.composes is not Composes.NOTHING:
        parts.append(f"Also takes the [options](options.md) of {verb.composes.value}.")
    return "\n\n".join([*parts, *map(_example, verb.examples)])


def _example(example: str) -> str:
    """A block for each, with the reason why the tests do not run it where there is one."""
    block = f"```bash\n{PROGRAM} {example}\n```"
    return f"<!-- not run: needs a W&B account and a network -->\n{block}" if NETWORK.search(example) else block


def _flags(flags: tuple[Flag, ...]) -> str:
    rows = [(" ".join(code(f"{name} {flag.value}".strip()) for name in flag.names), flag.help) for flag in flags]
    return table(["flag", "meaning"], rows)
