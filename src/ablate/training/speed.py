"""How fast a trial trains: tokens per second and model FLOPs utilisation (MFU)."""

from ablate.model.utilisation import all_pairs_flops, device_peak_flops
from ablate.training.counters import Counters
from ablate.training.module import TrialModule


def speed(module: TrialModule, before: Counters, after: Counters, seconds: float) -> dict[str, float]:
    """Return the rates of the steps between two counters.

    Returns:
        `train_tokens_per_second`, the same `_per_device`, and `mfu_visible_pairs` and `mfu_all_pairs` where the
        device's peak rate is known (see `model.utilisation`).
    """
    devices = module.ranks.rank.count
    rate = (after.train_tokens - before.train_tokens) / seconds
    rates = {"train_tokens_per_second": rate, "train_tokens_per_second_per_device": rate / devices}
    peak = device_peak_flops(module.trainer.strategy.root_device, module.trial.precision)
    if peak is None:
        return rates
    rates["mfu_visible_pairs"] = (after.flops - before.flops) / seconds / (devices * peak)
    tokens, rows = after.input_tokens - before.input_tokens, after.steps - before.steps
    rows *= module.trial.budget.rows_per_step
    if (flops := all_pairs_flops(module.model, tokens=tokens, row_tokens=tokens / rows)) is not None:
        rates["mfu_all_pairs"] = flops / seconds / (devices * peak)
    return rates
