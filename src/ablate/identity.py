"""A trial's id: 12 hex digits of SHA-256 over the canonical JSON of what changes its result.

Settings with the same meaning have the same id: operational fields are dropped, weights are normalised, a corpus is its
documents, a task of probability 0 is absent, tasks that change no row are causal, and a decoder that never reads a
bidirectional span is causal.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Any, get_args, get_type_hints

from ablate.config.data import MixtureConfig
from ablate.config.fields import Kind
from ablate.config.parse import plain
from ablate.config.trial import TrialConfig
from ablate.objectives.infill import CONTEXT_VERSION, Infill
from ablate.objectives.objective import Objective, WeightedTask
from ablate.objectives.tasks import TASKS
from ablate.versions import CODE_VERSIONS


def kind_of(owner: type, name: str) -> Kind | None:
    """Return the mark of a field; None if it is semantic."""
    return _kinds(owner)[name]


@cache
def _kinds(owner: type) -> dict[str, Kind | None]:
    hints = get_type_hints(owner, include_extras=True)
    return {
        name: next((argument for argument in get_args(hint) if isinstance(argument, Kind)), None)
        for name, hint in hints.items()
    }


def kind_of_key(key: str) -> Kind | None:
    """The mark of a dotted key of a trial's configuration, its own or that of the nearest node above that has one."""
    owner: Any = TrialConfig
    kind = None
    for name in key.split("."):
        if not is_dataclass(owner) or name not in {field.name for field in fields(owner)}:
            break
        assert isinstance(owner, type)
        kind = kind_of(owner, name) or kind
        owner = get_type_hints(owner)[name]
    return kind


def _without(config: Any, *unwanted: Kind) -> Any:
    """Convert a typed config to a plain container without the fields of these kinds."""
    return _pruned(config, plain(config), unwanted)


def _pruned(config: Any, container: Mapping[str, Any], unwanted: tuple[Kind, ...]) -> dict[str, Any]:
    pruned = {}
    for name in _kept(config.__class__, unwanted):
        value = getattr(config, name)
        pruned[name] = _pruned(value, container[name], unwanted) if is_dataclass(value) else container[name]
    return pruned


@cache
def _kept(cls: type, unwanted: tuple[Kind, ...]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cls) if kind_of(cls, field.name) not in unwanted)


def corpus_content(trial: TrialConfig) -> dict[str, Any]:
    """What identifies a trial's documents and their splits, wherever they lie."""
    assert trial.corpus.manifest_sha256, "the sweeper fills the manifest in"
    container = _without(trial.corpus)
    del container["sources"]
    assert isinstance(container, dict)
    return container


def semantic(trial: TrialConfig) -> dict[str, Any]:
    """Return everything that changes the trial's result, in canonical form."""
    container = _without(trial, Kind.OPERATIONAL, Kind.EVALUATION)
    objective = Objective.of(trial)
    container["objective"] = [_causal(1.0)] if objective.is_causal else [_task(task) for task in objective.tasks]
    if objective.stages and not objective.is_causal:
        container["objective_stages"] = [[stage.from_fraction, *stage.probabilities] for stage in objective.stages]
    container["infill"] = _infill(objective.infill)
    if not trial.architecture.has_encoder and not objective.has_bidirectional_spans:
        container["architecture"]["kind"] = "causal_decoder"
    if trial.scale.width_multiplier == 1:
        del container["scale"]["mup_base_width"]
    _drop_defaults(trial, container)
    limit = container["block"].pop("max_rotary_channels")
    if limit is not None and limit < trial.block.partial_rotary_factor * trial.head_width:
        # A smaller factor says the same.
        container["block"]["partial_rotary_factor"] = trial.rotary_width / trial.head_width
    container["block"]["key_value_heads"] = trial.key_value_heads
    if trial.init_from_id is not None:
        # No parameters are drawn.
        container["init_seed"] = None
    container["mixture"] |= _mixture(trial.mixture, is_drawn=not objective.is_causal or objective.infill is not None)
    container["corpus"] = corpus_content(trial)
    container["code_versions"] = CODE_VERSIONS
    assert isinstance(container, dict)
    return container


def _drop_defaults(trial: TrialConfig, container: dict[str, Any]) -> None:
    """Drop options that change nothing at their default, and what they replace: trials without them keep their ids."""
    if trial.optimizer.z_loss == 0:
        del container["optimizer"]["z_loss"]
    if trial.optimizer.momentum is None:
        del container["optimizer"]["momentum"]
    if trial.schedule.flat_fraction == 0:
        del container["schedule"]["flat_fraction"]
    if trial.schedule.cooldown_fraction == 0:
        del container["schedule"]["cooldown_fraction"]
    parent = parent_of(trial)
    if parent is None:
        del container["schedule"]["continues_at"]
    else:
        container["parent"] = trial_id(parent)
    if trial.mixture.leading_end_of_text:
        del container["mixture"]["leading_end_of_text"]
    if trial.init_scheme == "normal" or trial.init_from_id is not None:
        del container["init_scheme"]
    else:
        del container["scale"]["init_std"]


def parent_of(trial: TrialConfig) -> TrialConfig | None:
    """Return the trial that a trial continues (`schedule.continues_at`); None if it starts at step 0."""
    *before, tokens = trial.schedule.continues_at or (None,)
    if tokens is None:
        return None
    schedule = replace(trial.schedule, cooldown_fraction=0.0, decay_tokens=tokens, continues_at=tuple(before))
    return replace(trial, budget=replace(trial.budget, train_tokens=tokens), schedule=schedule)


def _mixture(mixture: MixtureConfig, *, is_drawn: bool) -> dict[str, Any]:
    """Normalise weights, drop stages that change nothing, and drop `augmentation` where nothing is drawn."""
    stages = [[0.0, _normalised(mixture.weights)]]
    for stage in mixture.stages:
        weights = _normalised(stage.weights)
        if weights != stages[-1][1]:
            stages.append([stage.from_fraction, weights])
    augmentation = mixture.augmentation if is_drawn else "every_epoch"
    return {"weights": stages[0][1], "stages": stages[1:], "augmentation": augmentation}


def _normalised(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items() if weight > 0}


def _causal(probability: float) -> list[Any]:
    return ["causal", probability, None, {}, {"causal": TASKS["causal"].code_version}]


def _task(task: WeightedTask) -> list[Any]:
    if task.is_causal:
        return _causal(task.probability)
    return [task.task.name, task.probability, task.mode, dict(task.parameters), task.code_versions]


def _infill(infill: Infill | None) -> list[Any] | None:
    if infill is None:
        return None
    scope = "context" if infill.merges_documents else "document"
    versions = {infill.format.name: infill.format.code_version}
    if infill.merges_documents:
        versions["scope=context"] = CONTEXT_VERSION
    return [infill.format.name, infill.rate, infill.level, scope, dict(infill.parameters), versions]


def code_versions(semantic: Mapping[str, Any]) -> dict[str, int]:
    """Component → code version in a canonical form: its own, and those at the end of each task and infill format."""
    versions = dict(semantic.get("code_versions", {}))
    for part in (*semantic.get("objective", []), semantic.get("infill") or [{}]):
        versions |= part[-1]
    return versions


def digest12(content: Any) -> str:
    """12 hex digits of SHA-256 over canonical JSON."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def trial_id(trial: TrialConfig) -> str:
    """Return the trial's id. Raises UsageError for an invalid objective (see `Objective.from_config`)."""
    return digest12(semantic(trial))


@dataclass(frozen=True)
class Difference:
    """A key in which two containers differ. A container without the key has the value `MISSING`."""

    key: str
    first: Any
    second: Any

    def __str__(self) -> str:
        return f"{self.key}: {_shown(self.first)} → {_shown(self.second)}"


MISSING = object()


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Difference]:
    """Return the dotted keys in which two plain containers differ, sorted.

    >>> [str(difference) for difference in differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": None})]
    ['a.c: 2 → 3', 'd: (not there) → null']
    """
    flat_first, flat_second = _flat(first), _flat(second)
    keys = sorted(flat_first.keys() | flat_second.keys())
    pairs = ((key, flat_first.get(key, MISSING), flat_second.get(key, MISSING)) for key in keys)
    return [Difference(key, left, right) for key, left, right in pairs if left != right]


def _flat(container: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in container.items():
        if isinstance(value, dict) and value:
            leaves |= _flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def _shown(value: Any) -> str:
    return "(not there)" if value is MISSING else json.dumps(value, ensure_ascii=False)
