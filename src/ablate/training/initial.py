"""Find the weights that `init_from` names, check that they fit the trial's model, and identify them by content.

Planning does this, and a job again before it trains, so imports stay light.
"""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

from ablate.config.parse import trial_from_container
from ablate.config.trial import TrialConfig
from ablate.errors import UsageError
from ablate.model.hf_config import read_config, shape_of_config, shape_of_trial
from ablate.model.hf_weights import check_weights, weight_files
from ablate.records.ledger import Ledger, TrialFolder
from ablate.records.trial import Status


def resolve_init_from(trial: TrialConfig, runs_dir: Path) -> str:
    """Identify the weights that `init_from` names.

    Returns:
        `trial:<id>` for a finished trial of the ledger, `sha256:<digest>` over the weight files and `config.json` of
        a folder.

    Raises:
        UsageError: neither exists, the trial is not finished, or the weights do not fit this trial's model.
    """
    source = _source(trial, runs_dir)
    if isinstance(source, TrialFolder):
        _check_trial(trial, source)
        return f"trial:{source.trial_id}"
    _check_folder(trial, source)
    return f"sha256:{_digest(source)}"


def check_init_from(trial: TrialConfig, runs_dir: Path) -> None:
    """Check what `init_from` names as far as this needs no corpus. Raises UsageError like `resolve_init_from`."""
    if trial.init_from is not None and isinstance(source := _source(trial, runs_dir), Path):
        _check_folder(trial, source)


def _source(trial: TrialConfig, runs_dir: Path) -> TrialFolder | Path:
    """Return the trial of the ledger or the folder that `init_from` names."""
    assert trial.init_from is not None
    ledger, folder = Ledger(runs_dir.expanduser().absolute()), Path(trial.init_from).expanduser()
    source = ledger.trial(trial.init_from)
    if Path(trial.init_from).name == trial.init_from and source.config_path.exists():
        return source
    if not folder.is_dir():
        raise UsageError(
            f"init_from={trial.init_from}: neither a trial in {ledger.runs_dir} nor a folder. Allowed: the whole id "
            "of a finished trial (`python -m ablate status` lists them), or the path of a folder with config.json and "
            "model.safetensors."
        )
    return folder


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in [folder / "config.json", *weight_files(folder)]:
        with path.open("rb") as file:
            digest.update(f"{path.name}\n{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def _check_trial(trial: TrialConfig, source: TrialFolder) -> None:
    override = f"init_from={trial.init_from}"
    if source.status != Status.FINISHED:
        raise UsageError(
            f"{override}: this trial is {source.status}, so it has no weights to start from. Run its command to the "
            f"end first (`python -m ablate status {source.trial_id}`), or give a finished trial."
        )
    # The end of a file that torch.save wrote has its table of contents.
    if not zipfile.is_zipfile(source.model_path):
        raise UsageError(
            f"{override}: {source.model_path} is missing or damaged, so the trial has no weights to start from. "
            "Delete its folder and run its command again, or give another trial."
        )
    source_trial = trial_from_container(source.frozen())
    _compare(override, _trial_keys(source_trial), _trial_keys(trial))
    if source_trial.tokenizer.sha256 != trial.tokenizer.sha256:
        raise UsageError(
            f"{override}: it has a different tokenizer.json (SHA-256 {source_trial.tokenizer.sha256}), so its token "
            f"ids have other meanings. Type tokenizer.path={source_trial.tokenizer.path}"
        )
    if trial.tokenizer.kind == "bpe" and _text(source_trial) != _text(trial):
        raise UsageError(
            f"{override}: its tokenizer was trained on other text, so its token ids have other meanings. Train on the "
            "same corpus, or give both trials one tokenizer with tokenizer=file tokenizer.path=PATH."
        )


def _trial_keys(trial: TrialConfig) -> dict[str, Any]:
    """Return the shape and the other keys that the weights depend on."""
    return shape_of_trial(trial) | {
        # Both decoders have the same weights.
        "architecture": "encoder_decoder" if trial.architecture.has_encoder else "prefix_decoder",
        "architecture.encoder_layers": trial.architecture.encoder_layers,
        "tokenizer.kind": trial.tokenizer.kind,
        "tokenizer.mask_sentinels": trial.tokenizer.mask_sentinels,
    }


def _text(trial: TrialConfig) -> tuple[Any, ...]:
    corpus = trial.corpus
    return corpus.manifest_sha256, corpus.val_fraction, corpus.test_fraction


def _check_folder(trial: TrialConfig, folder: Path) -> None:
    override = f"init_from={trial.init_from}"
    if trial.architecture.has_encoder:
        raise UsageError(
            f"{override}: a folder holds a decoder, and architecture=encoder_decoder also has an encoder. "
            "Type architecture=prefix_decoder or causal_decoder, or give the id of an encoder-decoder trial."
        )
    try:
        _compare(override, shape_of_config(read_config(folder)), shape_of_trial(trial))
        check_weights(folder, trial)
    except UsageError as error:
        raise UsageError(str(error) if str(error).startswith(override) else f"{override}: {error}") from None


def _compare(override: str, source: dict[str, Any], target: dict[str, Any]) -> None:
    """Raise UsageError if any key differs, with all differing keys and what to type."""
    differing = [key for key, value in source.items() if target[key] != value]
    if not differing:
        return
    lines = [f"  {key}: {_spelled(source[key])} there, {_spelled(target[key])} here" for key in differing]
    # block= also sets the defaults of that kind.
    typed = " ".join(f"{'block' if key == 'block.kind' else key}={_spelled(source[key])}" for key in differing)
    raise UsageError("\n".join([f"{override}: these weights do not fit this trial's model.", *lines, f"Type {typed}"]))


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
