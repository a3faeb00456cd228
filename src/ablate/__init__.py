"""ablate: ablations of language-model pre-training that end in a verdict.

from ablate import Ledger, lesson

print(Ledger("runs").table())
print(lesson("my_lesson").verdicts)
"""

from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.1.0"
__all__ = ["CONF", "Ledger", "ladder", "lesson"]

# Every default, as YAML: inside an installed package, or beside `src` in a checkout.
CONF = next(
    folder for folder in (Path(__file__).parent / "conf", Path(__file__).parents[2] / "conf") if folder.is_dir()
)


def __getattr__(name: str) -> Any:
    # Imported on first use: the command line imports this package and must start without pandas.
    if name in ("Ledger", "ladder", "lesson"):
        return getattr(import_module("ablate.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
