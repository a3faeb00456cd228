"""Commands on a small corpus of files, in this process or in one of their own."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ablate.config.quoting import quoted
from tests.support.in_process import Completed, run_in_process

TINY = [
    "corpus=files",
    "mixture=text",
    "corpus.test_fraction=0.2",
    "corpus.val_fraction=0.2",
    "scale.n_layers=1",
    "scale.d_model=32",
    "scale.n_heads=2",
    "scale.context_tokens=48",
    "scale.window_tokens=40",
    "tokenizer.vocab_size=340",
    "budget.train_tokens=800",
    "evaluation.suites.bits_per_byte.passage_bytes=80",
    "evaluation.suites.bits_per_byte.passages_per_source=4",
    "evaluation.val_documents_per_source=2",
    "tracking.log_every_steps=2",
    # W&B's service takes longer to start than a tiny trial to train.
    "tracking.wandb=disabled",
]


def with_tiny(folder: Path, *arguments: str) -> list[str]:
    """Add what makes trials small and names the folder's text and cache."""
    text, cache = quoted(str(folder / "text")), quoted(str(folder / "cache"))
    places = [f"corpus.sources.text.files.path={text}", f"cache_dir={cache}"]
    given = {argument.split("=")[0] for argument in arguments}
    return [*arguments, *(option for option in TINY if option.split("=")[0] not in given), *places]


def command(folder: Path, *arguments: str) -> list[str]:
    """Return the words of `python -m ablate` for a small grid."""
    return [sys.executable, "-m", "ablate", *with_tiny(folder, *arguments)]


def ablate(folder: Path, *arguments: str) -> Completed:
    """Run a small grid in this process."""
    return run_in_process(folder, *with_tiny(folder, *arguments))


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a small grid in a process group of its own."""
    return subprocess.Popen(
        command(folder, *arguments),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(condition: Callable[[], object], seconds: float = 90) -> None:
    """Wait until the condition is true; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)
