"""Small trials composed from our own YAML."""

import copy
from collections.abc import Callable
from functools import cache, reduce
from pathlib import Path
from typing import Any

from ablate.config.trial import TrialConfig
from ablate.grid.expand import default_container

# By dotted key; keys of suites that a trial does not name are skipped.
SMALL: dict[str, Any] = {
    "scale.n_layers": 2,
    "scale.d_model": 32,
    "scale.n_heads": 2,
    "scale.context_tokens": 48,
    "scale.window_tokens": 40,
    "tokenizer.vocab_size": 340,
    "tokenizer.mask_sentinels": 16,
    "budget.train_tokens": 800,
    "budget.rows_per_step": 4,
    "evaluation.suites.bits_per_byte.passage_bytes": 80,
    "evaluation.suites.bits_per_byte.passages_per_source": 4,
    "evaluation.val_documents_per_source": 3,
    "tracking.wandb": "disabled",
    "tracking.log_every_steps": 2,
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
    "random_loss": "objective=random_loss",
    "stages": "objective=stages",
    "psm": "infill=psm infill.rate=1.0 infill.level=token",
    "spm": "infill=spm infill.rate=1.0 infill.level=char",
    "joint": "infill=joint infill.rate=1.0 infill.level=line",
    "sentinel": "infill=sentinel infill.rate=1.0 infill.scope=context",
    "prefix and psm": "objective=prefix infill=psm infill.rate=0.5",
}


MakeTrial = Callable[..., TrialConfig]


@cache
def _composed(*overrides: str) -> dict[str, Any]:
    return default_container(*overrides)


def container_of(*overrides: str) -> dict[str, Any]:
    """A copy of our own YAML under these overrides; the same overrides are composed once, because Hydra is slow."""
    return copy.deepcopy(_composed(*overrides))


def small_container(text: dict[str, Path], cache: Path, *overrides: str) -> dict[str, Any]:
    """Our own YAML under some overrides (as on the command line), for a small model on the text of these folders."""
    container = container_of(*overrides)
    container["cache_dir"] = str(cache)
    # The near-duplicates that corpus=wheels drops are not searched in text of words drawn at random.
    if not any(override.startswith("cleaning") for override in overrides):
        container["cleaning"]["near_duplicates"] = None
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
    for key, value in SMALL.items():
        parent, _, last = key.rpartition(".")
        node = reduce(lambda node, name: node.get(name, {}), parent.split("."), container)
        if key not in given and last in node:
            node[last] = value
    container["schedule"]["decay_tokens"] = container["budget"]["train_tokens"]
    return container
