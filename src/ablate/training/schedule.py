"""The learning rate over a budget."""

import math
from collections.abc import Callable

from ablate.config.training import ScheduleConfig


def learning_rate(peak: float, config: ScheduleConfig, budget_tokens: float) -> float:
    """Return the rate after `budget_tokens` of the budget: linear warm-up to the peak, then as `config.kind` says."""
    warmup_tokens = config.warmup_fraction * config.decay_tokens
    if budget_tokens < warmup_tokens:
        return peak * budget_tokens / warmup_tokens
    height = SCHEDULES[config.kind](config, budget_tokens)
    return peak * (config.final_fraction + (1 - config.final_fraction) * height)


def cosine(config: ScheduleConfig, budget_tokens: float) -> float:
    """Return the height above the final rate, from 1 to 0: a cosine from the warm-up to the flat end."""
    warmup_tokens = config.warmup_fraction * config.decay_tokens
    end_tokens = config.decay_tokens * (1 - config.flat_fraction)
    progress = (budget_tokens - warmup_tokens) / (end_tokens - warmup_tokens)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def wsd(config: ScheduleConfig, budget_tokens: float) -> float:
    """Return the height: 1, then 1 − √progress over the cooldown (Hägele et al. 2024, section 3)."""
    cooldown_tokens = config.cooldown_fraction * config.decay_tokens
    start_tokens = config.decay_tokens - cooldown_tokens
    if budget_tokens <= start_tokens:
        return 1.0
    return 1 - math.sqrt(min(1.0, (budget_tokens - start_tokens) / cooldown_tokens)) if cooldown_tokens else 1.0


SCHEDULES: dict[str, Callable[[ScheduleConfig, float], float]] = {"cosine": cosine, "wsd": wsd}
