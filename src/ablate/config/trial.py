"""The types of one trial's configuration.

Hydra composes YAML and `parse` turns the plain container into these frozen dataclasses; nothing below the command line
sees Hydra or OmegaConf. There are no defaults here: YAML holds every default. Names carry units.

Each field is of one kind. *Semantic* fields change a trial's result and make its id; fields marked `OPERATIONAL` say
where and how it runs; `EVALUATION` fields say how it is scored, and make the ids
of its suites.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass as typed

from ablate.config.data import CleaningConfig, CorpusConfig, MixtureConfig, PreparationConfig, TokenizerConfig
from ablate.config.fields import (
    EVALUATION,
    OPERATIONAL,
    STRICT,
    Count,
    CountOrZero,
    Date,
    Fraction,
    Name,
    Positive,
    Seed,
    fold,
)
from ablate.config.training import BudgetConfig, DivergenceConfig, OptimizerConfig, ScheduleConfig

# Earlier configurations have true or false.
Checkpointing = Annotated[
    Literal["none", "selective", "full"],
    BeforeValidator(lambda value: {True: "full", False: "none"}[value] if isinstance(value, bool) else value),
]


@typed(frozen=True, config=STRICT)
class ArchitectureConfig:
    """What the model does with bidirectional spans.

    `prefix_decoder` honours them, `causal_decoder` ignores them, `encoder_decoder` reads them in an encoder of
    `encoder_layers` layers; decoders have no encoder layers.
    """

    kind: Literal["prefix_decoder", "causal_decoder", "encoder_decoder"]
    encoder_layers: CountOrZero

    @property
    def honours_bidirectional_spans(self) -> bool:
        """Whether tokens of a span attend to each other."""
        return self.kind != "causal_decoder"

    @property
    def has_encoder(self) -> bool:
        """Whether an encoder reads the spans."""
        return self.kind == "encoder_decoder"


@typed(frozen=True, config=STRICT)
class BlockConfig:
    """One layer.

    `gptj`: one LayerNorm, attention and MLP in parallel, biases in the MLP and the head. `llama`: RMSNorm before
    each of both, SwiGLU, no biases. `key_value_heads` null is one per query head.

    Rotary positions take `partial_rotary_factor` of a head's channels, and at most `max_rotary_channels` (null: no
    limit).
    """

    kind: Literal["gptj", "llama"]
    partial_rotary_factor: Annotated[float, Field(gt=0, le=1)]
    max_rotary_channels: Annotated[Count, Field(ge=2)] | None
    rotary_base: Positive
    mlp_ratio: Positive
    norm_eps: Positive
    key_value_heads: Count | None


@typed(frozen=True, config=STRICT)
class ScaleConfig:
    """The model's shape and the length of its rows.

    A window of `window_tokens` train tokens becomes one row of at most `context_tokens`; the difference is room for
    the special tokens of an objective.

    `activation_checkpointing` is what the backward pass computes again: `none` of it, `selective` (the
    MLP's inner channels) or `full` (whole blocks). The numbers are the same.

    `mup_base_width` turns muP on (null: off). Learning rates, initial values, attention and output are scaled such
    that a learning rate tuned at `d_model = mup_base_width` carries over to this `d_model`, at the same number of
    layers and heads.

    `usual_learning_rate` is one that suits this shape. `optimizer=adamw` and `muon` refer to it; others have their own.
    """

    n_layers: Count
    d_model: Count
    n_heads: Count
    context_tokens: Count
    window_tokens: Count
    init_std: Positive
    activation_checkpointing: Annotated[Checkpointing, OPERATIONAL]
    mup_base_width: Count | None
    usual_learning_rate: Annotated[Positive, OPERATIONAL]

    @property
    def width_multiplier(self) -> float:
        """How many times as wide as muP's base the model is; 1 without muP."""
        return self.d_model / (self.mup_base_width or self.d_model)


def mlp_width(scale: ScaleConfig, block: BlockConfig) -> int:
    """Return the channels between the MLP's matrices: a multiple of 8."""
    return round(block.mlp_ratio * scale.d_model / 8) * 8


def key_value_heads(scale: ScaleConfig, block: BlockConfig) -> int:
    """Return the number of key and value heads; as many as query heads where the block sets none."""
    return block.key_value_heads or scale.n_heads


def decoder_weights(scale: ScaleConfig, block: BlockConfig, vocab_size: int) -> int:
    """Return the number of weights in a decoder's matrices, embedding and head included."""
    heads = scale.n_heads + 2 * key_value_heads(scale, block)
    attention = heads * (scale.d_model // scale.n_heads) + scale.d_model
    mlp = (3 if block.kind == "llama" else 2) * mlp_width(scale, block)
    return scale.d_model * (scale.n_layers * (attention + mlp) + 2 * vocab_size)


@typed(frozen=True, config=STRICT)
class TaskConfig:
    """One task of an objective; its parameters are checked against the task's signature.

    `mode` is the token that opens each of its segments and names the denoiser (UL2, section 3.1.2); absent for none.
    """

    task: Name
    probability: Fraction
    parameters: dict[str, Any]
    mode: Literal["R", "S", "X"] | None = None


@typed(frozen=True, config=STRICT)
class ObjectiveStageConfig:
    """The tasks' probabilities, by label, from a fraction of the budget on; tasks that are left out have 0."""

    from_fraction: Annotated[float, Field(gt=0, lt=1)]
    probabilities: dict[str, Fraction]


@typed(frozen=True, config=STRICT)
class ObjectiveConfig:
    """Labelled tasks, one of which is drawn per row, and stages in which they have other probabilities."""

    tasks: Annotated[dict[str, Annotated[TaskConfig, fold("task", "probability", "mode")]], Field(min_length=1)]
    stages: tuple[ObjectiveStageConfig, ...] = ()


@typed(frozen=True, config=STRICT)
class InfillConfig:
    """How text is reordered before a task that keeps its order.

    `rate` is the fraction of segments, `level` where a middle may begin and end; `scope: context` ignores the
    boundaries of documents in a row. The other parameters are checked against the format's signature.
    """

    format: Name
    rate: Fraction
    level: Literal["token", "char", "line"]
    scope: Literal["document", "context"]
    parameters: dict[str, Any]


@typed(frozen=True, config=STRICT)
class EvaluationConfig:
    """The suites that score a trial, and how often it is scored on the validation split during training.

    `suites` has each suite's own parameters by its name; they are checked against the suite's signature. On the
    validation split a suite scores at most `val_documents_per_source` documents.
    """

    suites: Annotated[dict[Name, dict[str, Any]], Field(min_length=1)]
    val_documents_per_source: Annotated[Count, OPERATIONAL]
    val_evaluations: Annotated[CountOrZero, OPERATIONAL]
    rows_per_batch: Annotated[Count, OPERATIONAL]


@typed(frozen=True, config=STRICT)
class TrackingConfig:
    """The mirrors of a trial's log: W&B, and Lightning's loggers, which write into the trial's folder.

    `project` is W&B's, or ENTITY/PROJECT.
    """

    wandb: Literal["offline", "online", "disabled"]
    loggers: tuple[Literal["csv", "tensorboard"], ...]
    project: Name
    log_every_steps: Count


@typed(frozen=True, config=STRICT)
class HardwareConfig:
    """Where a trial runs: on `devices` of each of `nodes`, with one process (rank) per device.

    `strategy: auto` trains one device by itself, several by `ddp` where the model fits on each, else by `fsdp`.
    `threads_per_trial` are the threads of each rank. `micro_batch_rows` null takes a rank's rows of a step at once;
    `attention` is the backend. `price_per_device_hour` is in US dollars and holds on `price_date`; `plan` reads both.
    """

    accelerator: Literal["cpu", "gpu", "auto"]
    devices: Count
    nodes: Count
    strategy: Literal["auto", "single", "ddp", "fsdp"]
    threads_per_trial: Count
    parallel_trials: Count
    loader_workers: CountOrZero
    micro_batch_rows: Count | None
    attention: Literal["sdpa", "flex", "dense"]
    price_per_device_hour: Positive | None = None
    price_date: Date | None = None

    @property
    def ranks(self) -> int:
        """Number of processes that train a trial together."""
        return self.devices * self.nodes


@typed(frozen=True, config=STRICT)
class CheckpointConfig:
    """How often a trial saves its state, by the clock or, where `every_steps` is given, by steps.

    By the clock, what training waits for stays below `max_time_fraction`, however slow the disk. `keep_final` keeps the
    state after the last step, which other trials may continue (`schedule.continues_at`).
    """

    every_seconds: Positive
    every_steps: Count | None
    max_time_fraction: Annotated[float, Field(gt=0, le=1)]
    keep_last: Count
    keep_final: bool = False


@typed(frozen=True, config=STRICT)
class TrialConfig:
    """Everything that one trial needs to know."""

    architecture: ArchitectureConfig
    block: BlockConfig
    scale: ScaleConfig
    objective: ObjectiveConfig
    infill: Annotated[InfillConfig, fold("format", "rate", "level", "scope")]
    mixture: MixtureConfig
    corpus: CorpusConfig
    # Known by the corpus' manifest.
    cleaning: Annotated[CleaningConfig, OPERATIONAL]
    preparation: Annotated[PreparationConfig, OPERATIONAL, fold("executor", "workers")]
    tokenizer: TokenizerConfig
    budget: BudgetConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    init_seed: Seed
    data_seed: Seed
    init_from: Annotated[str | None, OPERATIONAL]
    init_from_id: str | None
    precision: Literal["fp32", "bf16"]
    compile: bool
    divergence: DivergenceConfig
    evaluation: Annotated[EvaluationConfig, EVALUATION]
    tracking: Annotated[TrackingConfig, OPERATIONAL]
    hardware: Annotated[HardwareConfig, OPERATIONAL]
    checkpoint: Annotated[CheckpointConfig, OPERATIONAL]
    cache_dir: Annotated[str | None, OPERATIONAL]
    init_scheme: Literal["normal", "codegen"] = "normal"

    @property
    def train_tokens_per_step(self) -> int:
        """Train tokens of one optimizer step."""
        return self.budget.rows_per_step * self.scale.window_tokens

    @property
    def budget_rows(self) -> int:
        """Number of rows that the budget's train tokens fill."""
        return -(-self.budget.train_tokens // self.scale.window_tokens)

    @property
    def head_width(self) -> int:
        """Channels of one attention head."""
        return self.scale.d_model // self.scale.n_heads

    @property
    def rotary_width(self) -> int:
        """Channels of each head that are rotated: even, GPT-J's `rotary_dim`."""
        channels = int(self.block.partial_rotary_factor * self.head_width)
        return min(channels, self.block.max_rotary_channels or channels) // 2 * 2

    @property
    def mlp_width(self) -> int:
        """Channels between the MLP's matrices."""
        return mlp_width(self.scale, self.block)

    @property
    def key_value_heads(self) -> int:
        """Number of key and value heads."""
        return key_value_heads(self.scale, self.block)
