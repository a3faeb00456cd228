"""`export`: write a finished trial as a folder that transformers opens."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate.config.parse import trial_from_container
from ablate.config.trial import TrialConfig
from ablate.console import make_console
from ablate.errors import FailureError, UsageError
from ablate.model.hf_config import STOCK_QKV_GROUPS, config_of
from ablate.records.ledger import TrialFolder
from ablate.records.trial import Scores, Status
from ablate.verbs.arguments import Arguments, trial_named


def main(arguments: Arguments) -> int:
    """Write a trial's model, tokenizer and card.

    Raises:
        UsageError: a trial that is unknown, unfinished or has no counterpart, or a folder that is not empty.
        FailureError: a folder that cannot be written.
    """
    if len(arguments.names) != 2:
        raise arguments.error("takes a trial id and a folder")
    name, place = arguments.names
    qkv_groups = _whole_number("--qkv-groups", arguments.flags.get("--qkv-groups", str(STOCK_QKV_GROUPS)))
    source, folder = trial_named(arguments.ledger, name), Path(place).expanduser().absolute()
    if source.status != Status.FINISHED:
        raise UsageError(
            f"{source.trial_id}: is {source.status}; only finished trials can be exported. "
            f"`ablate status {source.trial_id}` tells more; the command that started it resumes it."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder}: exists and is not empty. Name a new folder: "
            f"ablate export {source.trial_id} {place}-{source.trial_id}"
        )
    trial = trial_from_container(source.frozen())
    # Refuses what cannot be exported before anything heavy is imported; the token's number does not matter here.
    config_of(trial, qkv_groups=qkv_groups, end_of_text=0)
    _write(folder, source, trial, qkv_groups)
    _report(folder, source, trial, qkv_groups)
    return 0


def _whole_number(flag: str, value: str) -> int:
    if not value.isdecimal() or int(value) == 0:
        raise UsageError(f"{flag} {value}: should be a whole number above 0, as in {flag} 8.")
    return int(value)


def _write(folder: Path, source: TrialFolder, trial: TrialConfig, qkv_groups: int) -> None:
    """Write a sibling folder and rename it when it is complete."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            _fill(scratch, source, trial, qkv_groups)
            scratch.chmod(0o755)
            scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise FailureError(f"{folder}: cannot be written ({error}). Choose another folder.") from None


def _fill(folder: Path, source: TrialFolder, trial: TrialConfig, qkv_groups: int) -> None:
    import torch
    from safetensors.torch import save_file

    from ablate.data.tokens.shards import open_shards
    from ablate.model.hf import to_hugging_face

    tokenizer = open_shards(trial).tokenizer
    tokenizer.to_hub(folder)
    end_of_text = tokenizer.special.end_of_text
    weights = torch.load(source.model_path, map_location="cpu", weights_only=True)
    config, weights = to_hugging_face(weights, trial, qkv_groups=qkv_groups, end_of_text=end_of_text)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    _write_json(folder / "config.json", config)
    tokens = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    _write_json(folder / "generation_config.json", tokens)
    (folder / "README.md").write_text(card(source, trial, qkv_groups), encoding="utf-8")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def card(source: TrialFolder, trial: TrialConfig, qkv_groups: int) -> str:
    """The model card: what was trained, how it scored, and what does not carry over."""
    record = source.record()
    chosen = ", ".join(f"{key}={value}" for key, value in {**record.choices, **record.options}.items())
    assert record.result is not None
    counters, kind = record.result.counters, {"gptj": "CodeGen", "llama": "Llama"}[trial.block.kind]
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        "tags: [ablate]",
        "---",
        "",
        f"# Trial {source.trial_id} of `ablate`",
        "",
        f"A {trial.architecture.kind.replace('_', ' ')} of {record.result.parameters:,} parameters in transformers' {kind} "
        "layout, fp32, trained in a study of pre-training: it is a measurement and not a product.",
        "",
        f"- options: {chosen or 'the defaults'}",
        f"- trained on {counters.train_tokens:,} train tokens, {counters.loss_tokens:,} of loss, of "
        f"{', '.join(trial.mixture.weights)}",
        f"- at most {trial.scale.context_tokens:,} tokens of context",
        "- the tokenizer adds nothing by itself; in training each document begins and ends with its end-of-text token",
        "",
        "## Scores",
        "",
        *_scores(record.evaluations),
        "",
        "## What does not carry over",
        "",
        *_not_carried(trial, kind, qkv_groups),
    ]
    return "\n".join(lines) + "\n"


def _scores(evaluations: Mapping[str, Scores]) -> list[str]:
    rows = [
        f"| {name} | {value:.4f} | {evaluation} |"
        for evaluation, scores in evaluations.items()
        for name, value in scores.items()
    ]
    return ["| metric | score | evaluation |", "|---|---:|---|", *rows]


def _not_carried(trial: TrialConfig, kind: str, qkv_groups: int) -> list[str]:
    lines = [
        "- The optimizer's state: what is trained further starts it anew.",
        "- Text that spells a special token, as `<mask_1>`: plain text in training, the token in transformers.",
    ]
    if trial.architecture.honours_bidirectional_spans:
        lines.append(
            f"- The bidirectional attention of spans: stock {kind} has no such mask and reads them from left to right. "
            "Scores of text in a bidirectional span were measured with that attention."
        )
    if trial.block.kind == "gptj" and qkv_groups != STOCK_QKV_GROUPS:
        lines.append(
            f"- Stock transformers: the fused projections lie in {qkv_groups} groups, for the modelling code that "
            f"CodeGen2 was released with. Stock CodeGen assumes {STOCK_QKV_GROUPS}, opens this folder and computes "
            "something else."
        )
    return lines


def _report(folder: Path, source: TrialFolder, trial: TrialConfig, qkv_groups: int) -> None:
    console = make_console()
    console.print(f"{source.trial_id}: written to {folder}", markup=False, highlight=False, soft_wrap=True)
    if trial.block.kind == "gptj" and qkv_groups != STOCK_QKV_GROUPS:
        console.print(
            f"Its {qkv_groups} groups are for CodeGen2's own modelling code; stock transformers assumes "
            f"{STOCK_QKV_GROUPS} and would compute something else.",
            highlight=False,
        )
    else:
        console.print(
            f'  transformers.AutoModelForCausalLM.from_pretrained("{folder}")',
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
