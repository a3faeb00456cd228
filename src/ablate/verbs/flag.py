"""The flags of the command line, and those that Hydra's verbs share. Imports nothing heavy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Flag:
    """An option of the command line.

    Attributes:
        names: its spellings, the first as in messages.
        value: the name of its value; "" for a switch.
        choices: the allowed values; empty for any.
    """

    names: tuple[str, ...]
    help: str
    value: str = ""
    choices: tuple[str, ...] = ()

    @property
    def parameter(self) -> str:
        """Its name in a click command."""
        return self.names[0].lstrip("-").replace("-", "_")


# Every verb takes it, so one alias serves all; a ledger is read without it.
CONFIG_DIR = Flag(("--config-dir",), "a folder with more choices, such as DIR/objective/mine.yaml", "DIR")
# Hydra's flags, for verbs that compose. Those below PRINTING print something and run nothing.
HYDRA_FLAGS = (
    Flag(("-m", "--multirun"), "run a grid: several values of an option make arms"),
    Flag(("--cfg",), "print the composed configuration and run nothing", "job", ("job", "hydra", "all")),
    Flag(("--package",), "with --cfg: print only this part of the configuration", "KEY"),
    Flag(("--resolve",), "with --cfg: print the configuration with its references resolved"),
    CONFIG_DIR,
    Flag(
        ("--info",),
        "print how Hydra found the configuration",
        "all",
        ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    ),
    Flag(("--hydra-help",), "print how overrides are written"),
)
PRINTING = ("--cfg", "--info")
