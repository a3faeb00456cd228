"""The types of one trial's configuration.

Hydra composes YAML, this module turns the plain container into frozen dataclasses and checks it; nothing below the
command line sees Hydra or OmegaConf. There are no defaults here: YAML holds every one of them, so that all knobs are
visible in one place. Units stand in the names.

Each field is of one kind. *Semantic* fields change a trial's result and make its id; fields marked `OPERATIONAL` say
where and how it runs; `EVALUATION` fields say how it is scored, and make the evaluation id.
"""

import difflib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.dataclasses import dataclass as typed

from ablate.errors import UsageError


class Kind(Enum):
    """What a field is for; semantic is what carries no mark."""

    OPERATIONAL = "operational"
    EVALUATION = "evaluation"


OPERATIONAL = Kind.OPERATIONAL
EVALUATION = Kind.EVALUATION


def _whole(value: object) -> object:
    """1e6 is a whole number in everyone's notation but a float in YAML's."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Count = Annotated[int, BeforeValidator(_whole), Field(gt=0)]
CountOrZero = Annotated[int, BeforeValidator(_whole), Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(min_length=1)]

_STRICT = ConfigDict(extra="forbid", strict=True)


@typed(frozen=True, config=_STRICT)
class ArchitectureConfig:
    """What the model does with a region: `prefix_decoder` honours it, `causal_decoder` ignores it."""

    kind: Literal["prefix_decoder", "causal_decoder"]


@typed(frozen=True, config=_STRICT)
class BlockConfig:
    """One layer. `gptj`: one LayerNorm, attention and MLP in parallel, rotary on a part of each head."""

    kind: Literal["gptj"]
    rotary_share: Annotated[float, Field(gt=0, le=1)]
    inner_ratio: Positive
    norm_eps: Positive


@typed(frozen=True, config=_STRICT)
class ScaleConfig:
    """The model's shape and the length of its rows.

    `window_tokens` of source text make one row of at most `context_tokens`; the difference is room for the special
    tokens an objective writes.
    """

    layers: Count
    width: Count
    heads: Count
    context_tokens: Count
    window_tokens: Count
    init_std: Positive
    activation_checkpointing: Annotated[bool, OPERATIONAL]


def _fold(named: str) -> Any:
    """Collects the keys that belong to a named component, not to us, under `parameters`."""
    own = {named, "probability", "parameters"}

    def fold(value: object) -> object:
        if not isinstance(value, dict) or "parameters" in value:
            return value
        known = {key: item for key, item in value.items() if key in own}
        return {**known, "parameters": {key: item for key, item in value.items() if key not in own}}

    return BeforeValidator(fold)


@typed(frozen=True, config=_STRICT)
class TaskConfig:
    """One task of an objective; its parameters are checked against the task's signature."""

    task: Name
    probability: Share
    parameters: dict[str, Any]


@typed(frozen=True, config=_STRICT)
class ObjectiveConfig:
    """Labelled tasks, one of which is drawn per row."""

    tasks: Annotated[dict[str, Annotated[TaskConfig, _fold("task")]], Field(min_length=1)]


@typed(frozen=True, config=_STRICT)
class InfillConfig:
    """A transform of the window before the task."""

    format: Literal["none"]


@typed(frozen=True, config=_STRICT)
class MixtureConfig:
    """Which sources rows come from, and how documents that share a row see each other."""

    weights: Annotated[dict[str, NotNegative], Field(min_length=1)]
    document_mask: bool
    restart_positions: bool


@typed(frozen=True, config=_STRICT)
class ReaderConfig:
    """One place that documents are read from."""

    reader: Name
    parameters: dict[str, Any]


@typed(frozen=True, config=_STRICT)
class CorpusConfig:
    """Named readers by source, and the split by hash. `manifest_sha256` is null for a corpus of your own."""

    sources: Annotated[
        dict[str, Annotated[dict[str, Annotated[ReaderConfig, _fold("reader")]], Field(min_length=1)]],
        Field(min_length=1),
    ]
    tune_share: Share
    test_share: Share
    manifest_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None


@typed(frozen=True, config=_STRICT)
class TokenizerConfig:
    """A byte-level BPE trained on the train split; the special tokens count as entries."""

    kind: Literal["bpe"]
    entries: Annotated[int, Field(gt=0, le=2**31 - 1)]
    mask_sentinels: CountOrZero


@typed(frozen=True, config=_STRICT)
class BudgetConfig:
    """How long a trial trains. `train_tokens` counts source tokens; `matched_on` names the counter that ends it."""

    train_tokens: Count
    rows_per_step: Count
    matched_on: Literal["source_tokens", "loss_tokens", "flops"]


@typed(frozen=True, config=_STRICT)
class OptimizerConfig:
    """AdamW on all parameters; weight decay on matrices only. `clip_norm` 0 clips nothing."""

    kind: Literal["adamw"]
    learning_rate: Positive
    beta1: Annotated[float, Field(ge=0, lt=1)]
    beta2: Annotated[float, Field(ge=0, lt=1)]
    eps: Positive
    weight_decay: NotNegative
    clip_norm: NotNegative


@typed(frozen=True, config=_STRICT)
class ScheduleConfig:
    """The learning rate over the budget's tokens: linear warm-up over a share of the horizon, then cosine to it."""

    kind: Literal["cosine"]
    warmup_share: Annotated[float, Field(ge=0, lt=1)]
    horizon_tokens: Count
    final_share: Share


@typed(frozen=True, config=_STRICT)
class EvaluationConfig:
    """What is scored: the same bytes for every arm."""

    passage_bytes: Annotated[int, Field(ge=2)]
    passages_per_document: Count
    test_documents_per_source: Count
    tune_documents_per_source: Count
    tune_evaluations: CountOrZero
    rows_per_batch: Annotated[Count, OPERATIONAL]


@typed(frozen=True, config=_STRICT)
class TrackingConfig:
    """The mirror of a trial's log."""

    wandb: Literal["offline", "online", "disabled"]
    project: Name
    log_every_steps: Count


@typed(frozen=True, config=_STRICT)
class HardwareConfig:
    """Where a trial runs. `micro_batch_rows` null takes a step's rows at once."""

    accelerator: Literal["cpu", "gpu", "auto"]
    threads_per_trial: Count
    parallel_trials: Count
    loader_workers: CountOrZero
    micro_batch_rows: Count | None


@typed(frozen=True, config=_STRICT)
class LessonConfig:
    """What a grid is to decide; declared before it runs and kept with it.

    `baseline` is the label of an arm (null: the first), `smallest_effect` the least difference in the primary
    metric's unit that would matter.
    """

    question: str | None
    primary_metric: Name
    smallest_effect: Positive
    baseline: str | None
    confidence: Annotated[float, Field(gt=0.5, lt=1)]


@typed(frozen=True, config=_STRICT)
class TrialConfig:
    """Everything that one trial needs to know."""

    architecture: ArchitectureConfig
    block: BlockConfig
    scale: ScaleConfig
    objective: ObjectiveConfig
    infill: InfillConfig
    mixture: MixtureConfig
    corpus: CorpusConfig
    tokenizer: TokenizerConfig
    budget: BudgetConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    init_seed: Seed
    data_seed: Seed
    precision: Literal["fp32", "bf16"]
    compile: bool
    evaluation: Annotated[EvaluationConfig, EVALUATION]
    tracking: Annotated[TrackingConfig, OPERATIONAL]
    hardware: Annotated[HardwareConfig, OPERATIONAL]
    cache_dir: Annotated[str | None, OPERATIONAL]

    @property
    def source_tokens_per_step(self) -> int:
        """Source tokens that one optimizer step reads."""
        return self.budget.rows_per_step * self.scale.window_tokens


@typed(frozen=True, config=_STRICT)
class GridConfig:
    """What a grid adds to its trials; gone before a trial starts."""

    replicates: Count
    lesson: LessonConfig


@dataclass(frozen=True)
class Composed:
    """One composed configuration: the trial, and what the grid around it is told."""

    trial: TrialConfig
    grid: GridConfig
    runs_dir: str


T = TypeVar("T")

_TRIAL = TypeAdapter(TrialConfig)
_GRID = TypeAdapter(GridConfig)
TRIAL_KEYS = frozenset(field.name for field in fields(TrialConfig))
GRID_KEYS = frozenset(field.name for field in fields(GridConfig))


def nearest(given: str, allowed: Iterable[str]) -> str:
    """'Did you mean x? Allowed: …' for a name that is not there."""
    names = sorted(allowed)
    close = difflib.get_close_matches(given, names, n=1)
    hint = f"Did you mean {close[0]}? " if close else ""
    return f"{hint}Allowed: {', '.join(names)}."


def _allowed_keys() -> dict[str, tuple[str, ...]]:
    """The known keys of the root and of each group."""
    groups = {name: hint for name, hint in get_type_hints(TrialConfig).items() if is_dataclass(hint)}
    keys = {name: tuple(field.name for field in fields(group)) for name, group in groups.items()}
    return {"": tuple(sorted(TRIAL_KEYS)), "lesson": tuple(field.name for field in fields(LessonConfig)), **keys}


def usage_error(error: ValidationError, where: str, allowed: Mapping[str, tuple[str, ...]]) -> UsageError:
    """One line per wrong key: the key, what was given, what is allowed.

    Args:
        error: what pydantic found.
        where: the key that its locations start below, "" for the root.
        allowed: the known keys below a key, to name them when one is unknown.
    """
    lines = []
    for problem in error.errors():
        parts = [str(part) for part in problem["loc"] if part not in ("parameters", "str", "int", "float")]
        key = ".".join([where, *parts] if where else parts)
        parent, _, last = key.rpartition(".")
        if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            names = allowed.get(parent, ())
            lines.append(f"{key}: unknown key. " + (nearest(last, names) if names else "Nothing can be set here."))
        elif problem["type"] in ("missing", "missing_argument"):
            lines.append(f"{key}: missing; it needs a value.")
        else:
            given = json.dumps(problem["input"], default=str)
            reason = problem["msg"].removeprefix("Input ").removeprefix("Value error, ")
            lines.append(f"{key}={given}: {reason}.")
    return UsageError("\n".join(lines))


def checked_parameters(function: Callable[..., object], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The keyword-only arguments of a named component, typed after its signature.

    Raises:
        UsageError: an unknown, missing or wrong parameter, named below the key `where`.
    """
    allowed: dict[str, Any] = {
        name: (parameter.annotation, ...)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    model = create_model(function.__name__, __config__=_STRICT, **allowed)
    try:
        return model.model_validate(dict(given)).model_dump()
    except ValidationError as error:
        raise usage_error(error, where, {where: tuple(allowed)}) from None


def _typed(adapter: TypeAdapter[T], container: Mapping[str, Any]) -> T:
    try:
        # Through JSON, where strict still takes a list for a tuple and a mapping for a dataclass.
        return adapter.validate_json(json.dumps(container))
    except ValidationError as error:
        raise usage_error(error, "", _allowed_keys()) from None


def trial_from_container(container: Mapping[str, Any]) -> TrialConfig:
    """The typed trial of a plain container.

    Raises:
        UsageError: a key that is unknown, missing or of the wrong type, or values that can't go together.
    """
    trial = _typed(_TRIAL, container)
    _check_together(trial)
    return trial


def trial_to_container(trial: TrialConfig) -> dict[str, Any]:
    """The plain container of a trial; `trial_from_container` gives the trial back."""
    container = _TRIAL.dump_python(trial, mode="json")
    assert isinstance(container, dict)
    return container


def composed_from_container(container: Mapping[str, Any]) -> Composed:
    """Parts what Hydra composed into the trial and what is around it. Raises like `trial_from_container`."""
    grid = _typed(_GRID, {key: container[key] for key in GRID_KEYS if key in container})
    around = GRID_KEYS | {"runs_dir", "seed", "trial_id"}
    trial = trial_from_container({key: value for key, value in container.items() if key not in around})
    runs_dir = container.get("runs_dir")
    if not isinstance(runs_dir, str) or not runs_dir:
        raise UsageError(f"runs_dir={json.dumps(runs_dir)}: should be the path of a folder.")
    return Composed(trial, grid, runs_dir)


def _check_together(trial: TrialConfig) -> None:
    """Values that are each fine and can't go together."""
    scale, hardware, budget = trial.scale, trial.hardware, trial.budget
    problems = []
    if scale.width % scale.heads:
        problems.append(f"scale.width={scale.width}: must be a multiple of scale.heads={scale.heads}.")
    elif rotary_width(trial) < 2:
        head_width = scale.width // scale.heads
        problems.append(
            f"block.rotary_share={trial.block.rotary_share}: less than one pair of a head's {head_width} channels."
        )
    least_entries = 256 + 3 + trial.tokenizer.mask_sentinels
    if trial.tokenizer.entries < least_entries:
        problems.append(
            f"tokenizer.entries={trial.tokenizer.entries}: 256 bytes, 3 special tokens and "
            f"tokenizer.mask_sentinels={trial.tokenizer.mask_sentinels} take at least {least_entries}."
        )
    if scale.window_tokens < 2:
        problems.append("scale.window_tokens=1: a row needs at least 2 tokens to predict one.")
    if scale.window_tokens > scale.context_tokens:
        problems.append(
            f"scale.window_tokens={scale.window_tokens}: must not exceed scale.context_tokens={scale.context_tokens}."
        )
    rows, micro_rows = budget.rows_per_step, hardware.micro_batch_rows
    if micro_rows and rows % micro_rows:
        divisors = [number for number in range(1, rows + 1) if rows % number == 0]
        problems.append(
            f"hardware.micro_batch_rows={micro_rows}: must divide budget.rows_per_step={rows}. "
            f"Allowed: {_shortened(divisors)}."
        )
    weights, sources = trial.mixture.weights, trial.corpus.sources
    problems += [
        f"mixture.weights.{source}: the corpus has no such source. {nearest(source, sources)}"
        for source in weights
        if source not in sources
    ]
    if not any(weights.values()):
        problems.append("mixture.weights: at least one weight must be above 0.")
    if trial.corpus.tune_share + trial.corpus.test_share >= 1:
        problems.append("corpus.tune_share + corpus.test_share: must leave something to train on (sum below 1).")
    if problems:
        raise UsageError("\n".join(problems))


def _shortened(numbers: list[int]) -> str:
    shown = numbers if len(numbers) <= 12 else [*numbers[:11], "…", numbers[-1]]
    return ", ".join(map(str, shown))


def rotary_width(trial: TrialConfig) -> int:
    """Channels of each head that rotary positions turn: even, GPT-J's `rotary_dim`."""
    head_width = trial.scale.width // trial.scale.heads
    return int(trial.block.rotary_share * head_width) // 2 * 2


def plain(config: object) -> Any:
    """Any typed config as plain containers, ready for JSON."""
    return TypeAdapter(type(config)).dump_python(config, mode="json")
