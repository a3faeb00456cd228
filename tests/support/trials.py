"""Small trials composed from our own YAML."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ablate.config.trial import TrialConfig
from ablate.grid.expand import default_container

SMALL: dict[str, dict[str, Any]] = {
    "scale": {"n_layers": 2, "d_model": 32, "n_heads": 2, "context_tokens": 48, "window_tokens": 40},
    "tokenizer": {"vocab_size": 340, "mask_sentinels": 16},
    "budget": {"train_tokens": 800, "rows_per_step": 4},
    "evaluation": {"passage_bytes": 80, "test_documents_per_source": 4, "val_documents_per_source": 3},
    "tracking": {"wandb": "disabled", "log_every_steps": 2},
}


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
