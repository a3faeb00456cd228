"""Checks that need more than the values of a configuration: what its objective draws, what its readers take,
what is installed here.

Rules about values alone stand in `ablate.config.rules`. Each rule here is a function of (trial, objective) in `RULES`
that yields a message per problem: what was given, what is allowed, what to type.
"""

import math
from collections.abc import Callable, Iterator
from importlib.util import find_spec

from ablate.config.options import choices_of, value_of
from ablate.config.trial import TrialConfig
from ablate.data.corpus.recipe import check_readers
from ablate.errors import UsageError
from ablate.objectives.objective import Objective
from ablate.records.wandb.login import has_login


def check(trial: TrialConfig) -> None:
    """Reject a trial that cannot run as configured. Raises UsageError with all problems."""
    check_readers(trial.corpus)
    objective = Objective.of(trial)
    if problems := [problem for rule in RULES for problem in rule(trial, objective)]:
        raise UsageError("\n".join(problems))


def _masks(trial: TrialConfig, objective: Objective) -> Iterator[str]:
    sentinels, window = trial.tokenizer.mask_sentinels, trial.scale.window_tokens
    for task in objective.tasks:
        if task.max_masks(window) > sentinels:
            yield (
                f"objective.tasks.{task.label}: can draw {task.max_masks(window)} spans in a window of {window} "
                f"tokens, the tokenizer has {sentinels} mask sentinels. Type tokenizer.mask_sentinels="
                f"{_most_masks(objective, window)}, raise the spans' length, or lower the ratio."
            )
    infill = objective.infill
    if infill is not None and infill.format.masks > sentinels:
        yield (
            f"infill={infill.format.name}: writes {infill.format.masks} mask sentinel, the tokenizer has {sentinels}. "
            "Raise tokenizer.mask_sentinels."
        )


def _most_masks(objective: Objective, window: int) -> int:
    return max(task.max_masks(window) for task in objective.tasks)


def _span_lengths(trial: TrialConfig, objective: Objective) -> Iterator[str]:
    window = trial.scale.window_tokens
    needed = max(task.min_segment_tokens for task in objective.tasks)
    for task in objective.tasks:
        if task.min_segment_tokens > window:
            yield (
                f"objective.tasks.{task.label}.noise: its spans are longer than what its ratio masks in a window of "
                f"scale.window_tokens={window}; they fit from {task.min_segment_tokens:.0f} tokens on. "
                f"Shorten the spans, raise the ratio, or type {_larger_scale(trial, objective, needed)}. "
                f"Given: {task.parameters['noise']}."
            )


def _larger_scale(trial: TrialConfig, objective: Objective, window: float) -> str:
    """Return the overrides that choose the smallest scale with such a window, and as many masks as it needs."""
    windows = {name: value_of("scale", name, "window_tokens") for name in choices_of("scale")}
    fitting = [name for name in windows if windows[name] >= window]
    if not fitting:
        return f"scale.window_tokens={math.ceil(window)}"
    chosen = min(fitting, key=lambda name: (windows[name], value_of("scale", name, "d_model")))
    masks = _most_masks(objective, windows[chosen])
    more = f" tokenizer.mask_sentinels={masks}" if masks > trial.tokenizer.mask_sentinels else ""
    return f"scale={chosen}{more}"


def _encoder(trial: TrialConfig, objective: Objective) -> Iterator[str]:
    if not trial.architecture.has_encoder:
        return
    if without := [task.label for task in objective.tasks if not task.has_bidirectional_spans]:
        yield (
            f"architecture=encoder_decoder: encodes bidirectional spans, and {', '.join(without)} of objective.tasks "
            "has none. Choose an objective whose rows have one (prefix, span_corruption), or "
            "architecture=prefix_decoder."
        )
    if objective.infill is not None:
        yield (
            f"infill={objective.infill.format.name}: reorders text for a left-to-right model; an encoder-decoder reads "
            "both sides anyway. Leave infill=none (objective=span_corruption infills), or take a decoder."
        )


def _tracking(trial: TrialConfig, objective: Objective) -> Iterator[str]:
    if trial.tracking.wandb == "online" and not has_login():
        yield (
            "tracking=online: nobody is logged in to W&B here. Type `wandb login` first, or tracking=offline and "
            "upload later: python -m ablate sync"
        )
    if "tensorboard" in trial.tracking.loggers and not any(map(find_spec, ("tensorboard", "tensorboardX"))):
        yield (
            "tracking=tensorboard: needs the package tensorboardX. Install it from a checkout: "
            "pip install -e '.[tensorboard]', or take tracking=csv."
        )


def _separators(trial: TrialConfig, objective: Objective) -> Iterator[str]:
    if trial.mixture.packing != "groups":
        return
    if noisy := [task.label for task in objective.tasks if task.noise is not None]:
        yield (
            f"mixture.packing=groups: puts <sep> between files, and {', '.join(noisy)} of objective.tasks writes <sep> "
            "itself. Choose an objective without span corruption (causal, prefix, random_loss), or "
            "mixture.packing=best_fit."
        )
    if objective.infill is not None and objective.infill.format.masks:
        yield (
            f"mixture.packing=groups: puts <sep> between files, and infill={objective.infill.format.name} writes <sep> "
            "itself. Choose infill=psm, spm or joint, or mixture.packing=best_fit."
        )


RULES: tuple[Callable[[TrialConfig, Objective], Iterator[str]], ...] = (
    _masks,
    _span_lengths,
    _encoder,
    _separators,
    _tracking,
)
