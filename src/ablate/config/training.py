"""The types of training: budget, optimizer, learning rate and divergence."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass as typed

from ablate.config.fields import STRICT, Count, Fraction, NotNegative, Positive


@typed(frozen=True, config=STRICT)
class BudgetConfig:
    """How long a trial trains. `train_tokens` counts tokens before transforms; `matched_on` names the counter that ends
    the trial."""

    train_tokens: Count
    rows_per_step: Count
    matched_on: Literal["train_tokens", "loss_tokens", "flops"]


@typed(frozen=True, config=STRICT)
class OptimizerConfig:
    """AdamW on all parameters, or Muon on the blocks' matrices and AdamW on all others; weight decay on matrices only.

    `clip_norm` 0 clips nothing. `momentum` is Muon's; null for AdamW.

    `z_loss` weighs the squared log-normaliser of the logits, which is added to the loss (PaLM, section 5).
    """

    kind: Literal["adamw", "muon"]
    learning_rate: Positive
    beta1: Annotated[float, Field(ge=0, lt=1)]
    beta2: Annotated[float, Field(ge=0, lt=1)]
    eps: Positive
    weight_decay: NotNegative
    clip_norm: NotNegative
    z_loss: NotNegative = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None


@typed(frozen=True, config=STRICT)
class ScheduleConfig:
    """The learning rate over the budget's tokens: linear warm-up, then a decay that ends at `decay_tokens`.

    The fractions are of `decay_tokens`, `final_fraction` apart, which is of the peak. `cosine` ends `flat_fraction`
    before `decay_tokens`, and the rate stays where it is. `wsd` stays at the peak and falls over `cooldown_fraction`.

    `continues_at` lists the train tokens at which trials without a cooldown ended that this trial continues: the last
    one is its parent.
    """

    kind: Literal["cosine", "wsd"]
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)]
    decay_tokens: Count
    final_fraction: Fraction
    flat_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    cooldown_fraction: Fraction = 0.0
    continues_at: tuple[Count, ...] = ()


@typed(frozen=True, config=STRICT)
class DivergenceConfig:
    """When a run diverged: its mean loss over the window lies `rise_nats` above the lowest such mean."""

    window_steps: Count
    rise_nats: Positive
