"""What only the components know of a trial, asked before anything starts."""

from collections.abc import Iterator

from ablate.config.trial import TrialConfig
from ablate.data.corpus.recipe import check_readers
from ablate.errors import UsageError
from ablate.objectives.infill import Infill
from ablate.objectives.objective import Arm, active_infill, checked_arms


def check(trial: TrialConfig) -> None:
    """Refuses a trial that can't run as it is meant. Raises UsageError with every reason."""
    check_readers(trial.corpus)
    arms = checked_arms(trial.objective)
    infill = active_infill(trial.infill, arms)
    problems = [*_spans(trial, arms)]
    if infill is not None:
        problems += _infill(trial, infill)
    if trial.architecture.kind == "encoder_decoder":
        problems += _encoder_decoder(arms, infill)
    if problems:
        raise UsageError("\n".join(problems))


def _spans(trial: TrialConfig, arms: tuple[Arm, ...]) -> Iterator[str]:
    sentinels, window = trial.tokenizer.mask_sentinels, trial.scale.window_tokens
    for arm in arms:
        if arm.most_masks(window) > sentinels:
            yield (
                f"objective.tasks.{arm.label}: can draw {arm.most_masks(window)} spans in a window of {window} tokens, "
                f"the tokenizer has {sentinels} mask sentinels. Raise tokenizer.mask_sentinels or the spans' length, "
                "or lower the ratio."
            )
        if arm.least_piece_tokens > window:
            yield (
                f"objective.tasks.{arm.label}.noise: its spans are longer than what its ratio takes out of a window of "
                f"scale.window_tokens={window}; they fit from {arm.least_piece_tokens:.0f} tokens on. "
                f"Shorten the spans, raise the ratio, or take a larger scale. Given: {arm.parameters['noise']}."
            )


def _infill(trial: TrialConfig, infill: Infill) -> Iterator[str]:
    if infill.format.masks > trial.tokenizer.mask_sentinels:
        yield (
            f"infill={infill.format.name}: writes {infill.format.masks} mask sentinel, the tokenizer has "
            f"{trial.tokenizer.mask_sentinels}. Raise tokenizer.mask_sentinels."
        )


def _encoder_decoder(arms: tuple[Arm, ...], infill: Infill | None) -> Iterator[str]:
    without = [arm.label for arm in arms if not arm.emits_region]
    if without:
        yield (
            f"architecture=encoder_decoder: encodes regions, and {', '.join(without)} of objective.tasks has none. "
            "Choose an objective whose rows have one (prefix, span_corruption), or architecture=prefix_decoder."
        )
    if infill is not None:
        yield (
            f"infill={infill.format.name}: puts text out of order for a left-to-right model; an encoder-decoder reads "
            "both sides anyway. Leave infill=none (objective=span_corruption infills), or take a decoder."
        )
