"""A model of transformers as a finished trial of the ledger, so that suites score it like any trial."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablate.config.parse import composed_from_container, trial_to_container
from ablate.config.trial import TrialConfig
from ablate.console import make_console, say
from ablate.errors import UsageError
from ablate.files import replacing
from ablate.grid.check import check
from ablate.grid.command import composed
from ablate.grid.resolve import Resolver
from ablate.identity import semantic, trial_id
from ablate.model.hf_config import read_config, shape_of_config
from ablate.objectives.objective import Objective
from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.trial import Counts, Status, TrainResult, TrialRecord

CONTEXT_KEYS = ("n_positions", "max_position_embeddings", "n_ctx")
# It is never trained. No grid has this budget, so no trial of a grid has the id.
BUDGET = "budget.train_tokens=1000003"


def imported(
    model: str, ledger: Ledger, words: Sequence[str], config_dir: str | None
) -> tuple[TrialFolder, TrialConfig]:
    """Return a folder of transformers as a finished trial, whose weights are copied into the ledger once.

    Args:
        words: overrides. They name the suites and, where it is not causal, what the model was trained for.

    Raises:
        UsageError: a folder that our models cannot read, that has no tokenizer, or that does not fit the overrides.
    """
    folder = Path(model).expanduser().absolute()
    if not folder.is_dir():
        raise UsageError(f"model={model}: there is no such folder. Give one that save_pretrained wrote.")
    config = read_config(folder)
    set_keys = {word.partition("=")[0] for word in words}
    if "tokenizer" in set_keys:
        # The folder's own is not read.
        set_keys.add("tokenizer.path")
    defaults = [word for word in _defaults(folder, config) if word.partition("=")[0] not in set_keys]
    if "tokenizer" not in set_keys and not (folder / "tokenizer.json").is_file():
        raise UsageError(
            f"model={model}: has no tokenizer.json. Copy the model's into the folder, or name another tokenizer: "
            "tokenizer=gpt2, tokenizer=codegen2, or tokenizer=hub tokenizer.path=FOLDER"
        )
    container = composed([*defaults, *words], config_dir)
    trial = composed_from_container(container).trial
    check(trial)
    trial = Resolver(ledger.runs_dir, lambda text: say(make_console(), text))(trial)
    _check_special(model, trial)
    return _stored(model, folder, ledger, trial), trial


def _defaults(folder: Path, config: Mapping[str, Any]) -> list[str]:
    """Return the overrides that describe the folder's model."""
    shape = shape_of_config(config)
    context = next((config[key] for key in CONTEXT_KEYS if key in config), None)
    if not isinstance(context, int):
        raise UsageError(f"{folder}: config.json has none of {', '.join(CONTEXT_KEYS)}. Type scale.context_tokens=N")
    words = {"block": shape.pop("block.kind"), "tokenizer": "hub", "tokenizer.path": str(folder)}
    words |= {key: "null" if value is None else value for key, value in shape.items()}
    words |= {"scale.context_tokens": context, "scale.window_tokens": context}
    return ["architecture=causal_decoder", BUDGET, f"init_from={folder}", *(f"{key}={words[key]}" for key in words)]


def _check_special(model: str, trial: TrialConfig) -> None:
    """Raise UsageError where the model's prompts would have tokens that it does not know."""
    if trial.tokenizer.kind != "hub" or (Objective.of(trial).is_causal and Objective.of(trial).infill is None):
        return
    from ablate.data.tokens.tokenizer import special_tokens

    special = special_tokens(trial.tokenizer)
    needed = (special.end_of_mask, *special.masks[:1], special.separator)
    if max(needed) >= trial.tokenizer.vocab_size:
        raise UsageError(
            f"model={model}: its tokenizer lacks special tokens of this objective or infill format (<eom>, <mask_1> or "
            "<sep>). Leave objective=causal infill=none, or name its tokenizer, as tokenizer=codegen2."
        )


def _stored(model: str, folder: Path, ledger: Ledger, trial: TrialConfig) -> TrialFolder:
    import torch

    from ablate.model.hf import from_hugging_face

    ledger.check_writable()
    stored = ledger.trial(trial_id(trial))
    if stored.is_trained:
        return stored
    weights = from_hugging_face(folder, trial)
    with replacing(stored.model_path) as scratch:
        torch.save(weights, scratch)
    parameters = sum(weight.numel() for weight in weights.values())
    result = TrainResult(Counts(), training_seconds=0.0, parameters=parameters, data_fingerprint="")
    record = TrialRecord(stored.trial_id, options={"model": model}, semantic=semantic(trial))
    ledger.freeze(record, trial_to_container(trial))
    stored.write(replace(stored.record(), status=Status.FINISHED, result=result))
    return stored
