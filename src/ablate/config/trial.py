"""The types of one trial's configuration.

Hydra composes YAML, `parsing` turns the plain container into these frozen dataclasses; nothing below the command line
sees Hydra or OmegaConf. There are no defaults here: YAML holds every one of them, so that all knobs are visible in one
place. Units stand in the names.

Each field is of one kind. *Semantic* fields change a trial's result and make its id; fields marked `OPERATIONAL` say
where and how it runs; `EVALUATION` fields say how it is scored, and make the ids
of its suites.
"""

from enum import Enum
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass as typed


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
Fraction = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(min_length=1)]
# A part of names of files.
SourceName = Annotated[str, Field(pattern="^[A-Za-z0-9_-]+$")]

# Unknown keys and wrong types are refused, not dropped or bent.
STRICT = ConfigDict(extra="forbid", strict=True)


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
    """

    kind: Literal["gptj", "llama"]
    partial_rotary_factor: Annotated[float, Field(gt=0, le=1)]
    rotary_base: Positive
    mlp_ratio: Positive
    norm_eps: Positive
    key_value_heads: Count | None


@typed(frozen=True, config=STRICT)
class ScaleConfig:
    """The model's shape and the length of its rows.

    `window_tokens` of source text make one row of at most `context_tokens`; the difference is room for the special
    tokens an objective writes.
    """

    n_layers: Count
    d_model: Count
    n_heads: Count
    context_tokens: Count
    window_tokens: Count
    init_std: Positive
    activation_checkpointing: Annotated[bool, OPERATIONAL]


def _fold(*own_keys: str) -> Any:
    """Collects the keys that belong to a named component, not to us, under `parameters`."""
    own = {*own_keys, "parameters"}

    def fold(value: object) -> object:
        if not isinstance(value, dict) or "parameters" in value:
            return value
        known = {key: item for key, item in value.items() if key in own}
        return {**known, "parameters": {key: item for key, item in value.items() if key not in own}}

    return BeforeValidator(fold)


@typed(frozen=True, config=STRICT)
class TaskConfig:
    """One task of an objective; its parameters are checked against the task's signature.

    `mode` is the token that opens each of its pieces and tells the model which denoiser it is asked (UL2, section
    3.1.2); absent, as in most objectives, it is none.
    """

    task: Name
    probability: Fraction
    parameters: dict[str, Any]
    mode: Literal["R", "S", "X"] | None = None


@typed(frozen=True, config=STRICT)
class ObjectiveConfig:
    """Labelled tasks, one of which is drawn per row."""

    tasks: Annotated[dict[str, Annotated[TaskConfig, _fold("task", "probability", "mode")]], Field(min_length=1)]


@typed(frozen=True, config=STRICT)
class InfillConfig:
    """How text is put out of order before a task that would leave it in order.

    `rate` is the share of pieces, `level` where the middle may be cut; `scope: context` ignores the borders of
    documents in a row. The other parameters are checked against the format's signature.
    """

    format: Name
    rate: Fraction
    level: Literal["token", "char", "line"]
    scope: Literal["document", "context"]
    parameters: dict[str, Any]


Weights = Annotated[dict[str, NotNegative], Field(min_length=1)]
Packing = Literal["windows", "best_fit"]
PACKINGS: tuple[Packing, ...] = get_args(Packing)
Epochs = Annotated[float, Field(ge=1, allow_inf_nan=False)]


@typed(frozen=True, config=STRICT)
class StageConfig:
    """Other weights, from a share of the budget on."""

    from_fraction: Annotated[float, Field(gt=0, lt=1)]
    weights: Weights


@typed(frozen=True, config=STRICT)
class MixtureConfig:
    """Which sources rows come from, how often, and how documents that share a row see each other.

    `epochs` null reads all of a source before any of it again; a number reads a part of it so often over the whole
    budget. `max_epochs`, one for all or by source, refuses a budget that reads more often. `augmentation:
    first_epoch` repeats an objective's draws whenever a row is read again. `packing: windows` cuts a source every
    `window_tokens`, `best_fit` packs whole documents.
    """

    weights: Weights
    stages: tuple[StageConfig, ...]
    epochs: Epochs | None
    max_epochs: Annotated[Epochs | dict[str, Epochs] | None, OPERATIONAL]
    augmentation: Literal["every_epoch", "first_epoch"]
    packing: Packing
    document_mask: bool
    restart_positions: bool

    def epoch_cap(self, source: str) -> float | None:
        """How often a source may be read."""
        return self.max_epochs.get(source) if isinstance(self.max_epochs, dict) else self.max_epochs

    def budget_fraction(self, source: str) -> float:
        """The part of the whole budget's rows that a source has, through all stages."""
        weights = [self.weights, *(stage.weights for stage in self.stages)]
        borders = [0.0, *(stage.from_fraction for stage in self.stages), 1.0]
        shares = [given.get(source, 0.0) / sum(given.values()) for given in weights]
        return sum((end - start) * share for (start, end), share in zip(pairwise(borders), shares, strict=True))


@typed(frozen=True, config=STRICT)
class ReaderConfig:
    """One place that documents are read from."""

    reader: Name
    parameters: dict[str, Any]


@typed(frozen=True, config=STRICT)
class CorpusConfig:
    """Named readers by source, and the split by hash. `manifest_sha256` is null for a corpus of your own."""

    sources: Annotated[
        dict[SourceName, Annotated[dict[str, Annotated[ReaderConfig, _fold("reader")]], Field(min_length=1)]],
        Field(min_length=1),
    ]
    val_fraction: Fraction
    test_fraction: Fraction
    manifest_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None


ProblemKind = Literal["not_utf8", "binary", "bad_json", "no_text", "too_long"]


@typed(frozen=True, config=STRICT)
class CleaningConfig:
    """Which documents of a corpus are kept; what is kept makes its manifest.

    `skip` names the problems that are counted instead of ending the preparation; a document above `max_bytes` is one.
    `licences` null asks for none. `near_duplicates` is the Jaccard similarity of word shingles from which on only the
    first of two documents stays, `decontaminate` the benchmarks whose problems no document may hold.
    """

    skip: tuple[ProblemKind, ...]
    min_bytes: CountOrZero
    max_bytes: Count
    licences: tuple[str, ...] | None
    near_duplicates: Annotated[float, Field(gt=0, le=1)] | None
    decontaminate: tuple[Literal["humaneval"], ...]


@typed(frozen=True, config=STRICT)
class PreparationConfig:
    """Where a corpus is read and tokenized: in `workers` processes (null: one a core) of this machine, or as tasks of
    datatrove's Slurm or Ray executor, whose own arguments follow.
    """

    executor: Literal["local", "slurm", "ray"]
    workers: Count | None
    parameters: dict[str, Any]


@typed(frozen=True, config=STRICT)
class TokenizerConfig:
    """What turns text into tokens; `entries` is the model's vocabulary, the special tokens among them.

    `bpe` is trained on the train split, `bytes` has none to train, `gpt2` and `codegen2` (its extension, with the ids
    of the release) come with a package, `file` is the `tokenizer.json` at `path`, whose SHA-256 the grid fills in.
    """

    kind: Literal["bpe", "bytes", "gpt2", "codegen2", "file"]
    vocab_size: Annotated[int, Field(gt=0, le=2**31 - 1)]
    mask_sentinels: CountOrZero
    path: Annotated[str | None, OPERATIONAL]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None


@typed(frozen=True, config=STRICT)
class BudgetConfig:
    """How long a trial trains. `train_tokens` counts source tokens; `matched_on` names the counter that ends it."""

    train_tokens: Count
    rows_per_step: Count
    matched_on: Literal["train_tokens", "loss_tokens", "flops"]


@typed(frozen=True, config=STRICT)
class OptimizerConfig:
    """AdamW on all parameters; weight decay on matrices only. `clip_norm` 0 clips nothing."""

    kind: Literal["adamw"]
    learning_rate: Positive
    beta1: Annotated[float, Field(ge=0, lt=1)]
    beta2: Annotated[float, Field(ge=0, lt=1)]
    eps: Positive
    weight_decay: NotNegative
    clip_norm: NotNegative


@typed(frozen=True, config=STRICT)
class ScheduleConfig:
    """The learning rate over the budget's tokens: linear warm-up over a share of the horizon, then cosine to it."""

    kind: Literal["cosine"]
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)]
    decay_tokens: Count
    final_fraction: Fraction


@typed(frozen=True, config=STRICT)
class DivergenceConfig:
    """When a run is lost: its loss, as a mean over the window, lies so far above the lowest that it had."""

    window_steps: Count
    rise_nats: Positive


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
    """The mirror of a trial's log."""

    wandb: Literal["offline", "online", "disabled"]
    project: Name
    log_every_steps: Count


@typed(frozen=True, config=STRICT)
class HardwareConfig:
    """Where a trial runs. `micro_batch_rows` null takes a step's rows at once; `attention` is the backend."""

    accelerator: Literal["cpu", "gpu", "auto"]
    threads_per_trial: Count
    parallel_trials: Count
    loader_workers: CountOrZero
    micro_batch_rows: Count | None
    attention: Literal["sdpa", "flex", "dense"]


@typed(frozen=True, config=STRICT)
class CheckpointConfig:
    """How often a trial saves its state, by the clock or, where `every_steps` is given, by steps.

    By the clock, what training waits for stays below `max_time_fraction`, however slow the disk.
    """

    every_seconds: Positive
    every_steps: Count | None
    max_time_fraction: Annotated[float, Field(gt=0, le=1)]
    keep_last: Count


@typed(frozen=True, config=STRICT)
class TrialConfig:
    """Everything that one trial needs to know."""

    architecture: ArchitectureConfig
    block: BlockConfig
    scale: ScaleConfig
    objective: ObjectiveConfig
    infill: Annotated[InfillConfig, _fold("format", "rate", "level", "scope")]
    mixture: MixtureConfig
    corpus: CorpusConfig
    # Known by the corpus' manifest.
    cleaning: Annotated[CleaningConfig, OPERATIONAL]
    preparation: Annotated[PreparationConfig, OPERATIONAL, _fold("executor", "workers")]
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

    @property
    def train_tokens_per_step(self) -> int:
        """Source tokens that one optimizer step reads."""
        return self.budget.rows_per_step * self.scale.window_tokens

    @property
    def budget_rows(self) -> int:
        """Rows that the budget's source tokens fill."""
        return -(-self.budget.train_tokens // self.scale.window_tokens)

    @property
    def rotary_width(self) -> int:
        """Channels of each head that rotary positions turn: even, GPT-J's `rotary_dim`."""
        head_width = self.scale.d_model // self.scale.n_heads
        return int(self.block.partial_rotary_factor * head_width) // 2 * 2

    @property
    def mlp_width(self) -> int:
        """Channels between the MLP's matrices: a multiple of 8."""
        return round(self.block.mlp_ratio * self.scale.d_model / 8) * 8

    @property
    def key_value_heads(self) -> int:
        """Key and value heads that the query heads share; one each where the block does not say."""
        return self.block.key_value_heads or self.scale.n_heads
