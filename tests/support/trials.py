"""Small trials composed from our own YAML."""

import copy
from collections.abc import Callable
from functools import cache, reduce
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from ablate import CONF
from ablate.config.options import groups
from ablate.config.trial import TrialConfig

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
def _of_choices(*overrides: str) -> DictConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides))


def _is_plain(override: str) -> bool:
    """Whether Hydra sets one value for an override, after all choices of config groups."""
    key, _, value = override.partition("=")
    return key not in groups() and not key.startswith(("+", "~")) and not value.startswith(("[", "{"))


@cache
def _composed(*overrides: str) -> dict[str, Any]:
    config = _of_choices(*(override for override in overrides if not _is_plain(override))).copy()
    for override in OverridesParser.create().parse_overrides([word for word in overrides if _is_plain(word)]):
        value = override.value()
        OmegaConf.update(config, override.key_or_group, getattr(value, "text", value))
    container: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    return container  # type: ignore[no-any-return]


def container_of(*overrides: str) -> dict[str, Any]:
    """A copy of what `default_container` returns, for which Hydra composes each choice of config groups once."""
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
