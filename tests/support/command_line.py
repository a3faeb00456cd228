"""`python -m ablate` in a process of its own, on a small corpus of files."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ablate.grid.run import quoted

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
    "evaluation.passage_bytes=80",
    "evaluation.test_documents_per_source=4",
    "evaluation.val_documents_per_source=2",
    "tracking.log_every_steps=2",
]


def command(folder: Path, *arguments: str) -> list[str]:
    text, cache = quoted(str(folder / "text")), quoted(str(folder / "cache"))
    places = [f"corpus.sources.text.files.path={text}", f"cache_dir={cache}"]
    given = {argument.split("=")[0] for argument in arguments}
    tiny = [option for option in TINY if option.split("=")[0] not in given]
    return [sys.executable, "-m", "ablate", *arguments, *tiny, *places]


def ablate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(folder, *arguments), cwd=folder, capture_output=True, text=True, timeout=240)


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(folder, *arguments),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(condition: Any, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def verb(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ablate", *words], cwd=folder, capture_output=True, text=True, timeout=120
    )
