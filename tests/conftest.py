"""A small world: two sources of made-up text, a small model, and a trial composed from our own YAML."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from ablate.config.parse import composed_from_container
from ablate.config.trial import TrialConfig
from ablate.data.tokens.shards import Shards, open_shards
from ablate.grid.expand import default_container
from ablate.grid.resolve import Resolver

# Machines are noisy: no test fails for being slow, and a failure is the same one everywhere.
settings.register_profile("ablate", deadline=None, derandomize=True)
settings.load_profile("ablate")

WORDS = [
    "def",
    "return",
    "the",
    "and",
    "of",
    "lambda",
    "unto",
    "import",
    "self",
    "verily",
    "class",
    "yield",
    "thou",
    "x",
]

SMALL: dict[str, dict[str, Any]] = {
    "scale": {"n_layers": 2, "d_model": 32, "n_heads": 2, "context_tokens": 48, "window_tokens": 40},
    "tokenizer": {"vocab_size": 340, "mask_sentinels": 16},
    "budget": {"train_tokens": 800, "rows_per_step": 4},
    "evaluation": {"passage_bytes": 80, "test_documents_per_source": 4, "val_documents_per_source": 3},
    "tracking": {"wandb": "disabled", "log_every_steps": 2},
}


def write_text(folder: Path, documents: int, seed: int) -> Path:
    """Documents of random words, no two alike."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(documents):
        words = rng.choice(WORDS, size=rng.integers(40, 160))
        (folder / f"{number:03}.txt").write_text(f"{number} é\n" + " ".join(words) + "\n")
    return folder


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("some text")
    return {"code": write_text(root / "code", 40, 1), "english": write_text(root / "english", 40, 2)}


MakeTrial = Callable[..., TrialConfig]


def small_container(text: dict[str, Path], cache: Path, *overrides: str) -> dict[str, Any]:
    """Our own YAML under some overrides (as on the command line), for a small model on the text of these folders."""
    container = default_container(*overrides)
    container["cache_dir"] = str(cache)
    container["corpus"] = {
        "sources": {
            name: {"files": {"reader": "text_files", "path": str(path), "include": ["*.txt"], "exclude": []}}
            for name, path in text.items()
        },
        "val_fraction": 0.2,
        "test_fraction": 0.2,
        "manifest_sha256": None,
    }
    given = {override.split("=")[0] for override in overrides}
    for group, values in copy.deepcopy(SMALL).items():
        container[group] |= {key: value for key, value in values.items() if f"{group}.{key}" not in given}
    container["schedule"]["decay_tokens"] = container["budget"]["train_tokens"]
    return container


# Each objective and each infill format, with every level and scope among them: overrides by name.
ARMS = {
    "causal": "objective=causal",
    "prefix": "objective=prefix",
    "span_corruption": "objective=span_corruption",
    "mixed": "objective=mixed",
    "mixed_prefix": "objective=mixed_prefix",
    "ul2": "objective=ul2",
    "ul2_modes": "objective=ul2_modes",
    "psm": "infill=psm infill.rate=1.0 infill.level=token",
    "spm": "infill=spm infill.rate=1.0 infill.level=char",
    "joint": "infill=joint infill.rate=1.0 infill.level=line",
    "sentinel": "infill=sentinel infill.rate=1.0 infill.scope=context",
    "prefix and psm": "objective=prefix infill=psm infill.rate=0.5",
}


@pytest.fixture(scope="session")
def make_trial(text: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> MakeTrial:
    """A function from overrides (as on the command line) to a small trial."""
    cache = tmp_path_factory.mktemp("cache")

    def make(*overrides: str, **changes: Any) -> TrialConfig:
        container = small_container(text, cache, *overrides) | changes
        return Resolver(cache, lambda message: None)(composed_from_container(container).trial)

    return make


@pytest.fixture(scope="session")
def shards(make_trial: MakeTrial) -> Shards:
    return open_shards(make_trial())
