"""`export`: write a finished trial as a folder that transformers opens."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate.config.parse import trial_from_container
from ablate.config.trial import TrialConfig
from ablate.console import make_console, say
from ablate.errors import FailureError, UsageError
from ablate.model.hf_config import STOCK_QKV_GROUPS, config_of
from ablate.records.ledger import TrialFolder
from ablate.records.trial import Scores
from ablate.verbs.arguments import Arguments, trained_trial_named
from ablate.verbs.table import PROGRAM


def main(arguments: Arguments) -> int:
    """Write a trial's model, tokenizer and card.

    Raises:
        UsageError: the trial is unknown, unfinished or has no counterpart in transformers, or the folder is not empty.
        FailureError: the folder cannot be written, or the trial's weights were deleted or damaged.
    """
    if len(arguments.names) != 2:
        raise arguments.error("takes a trial id and a folder")
    name, place = arguments.names
    groups = arguments.flags.get("--qkv-groups", str(STOCK_QKV_GROUPS))
    if not groups.isdecimal() or int(groups) == 0:
        raise UsageError(f"--qkv-groups {groups}: should be a whole number above 0, as in --qkv-groups 8.")
    source, folder = trained_trial_named(arguments.ledger, name), Path(place).expanduser().absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder}: exists and is not empty. Name a new folder: "
            f"{PROGRAM} export {source.trial_id} {place}-{source.trial_id}"
        )
    trial = trial_from_container(source.frozen())
    # Rejects an invalid export before the heavy imports; any id of the end-of-text token does for that.
    config_of(trial, qkv_groups=int(groups), end_of_text=0)
    _write(folder, source, trial, int(groups))
    console = make_console()
    say(console, f"{source.trial_id}: written to {folder}")
    if _is_stock(trial, int(groups)):
        say(console, f'  transformers.AutoModelForCausalLM.from_pretrained("{folder}")')
    else:
        say(
            console,
            f"Its {groups} groups are for CodeGen2's own modelling code; stock transformers assumes "
            f"{STOCK_QKV_GROUPS} and would compute something else.",
        )
    return 0


def _is_stock(trial: TrialConfig, qkv_groups: int) -> bool:
    """Whether the modelling code of transformers computes what the model does."""
    return trial.block.kind != "gptj" or qkv_groups == STOCK_QKV_GROUPS


def _write(folder: Path, source: TrialFolder, trial: TrialConfig, qkv_groups: int) -> None:
    """Write a sibling folder and rename it."""
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
    from safetensors.torch import save_file

    from ablate.data.tokens.shards import open_shards
    from ablate.model.hf import to_hugging_face
    from ablate.training.weights import trained_weights

    tokenizer = open_shards(trial).tokenizer
    tokenizer.to_hub(folder, trial.scale.context_tokens)
    end_of_text = tokenizer.special.end_of_text
    weights = trained_weights(source.model_path)
    config, weights = to_hugging_face(weights, trial, qkv_groups=qkv_groups, end_of_text=end_of_text)
    path = folder / "model.safetensors"
    # Created first, because safetensors makes files that only the owner can read.
    path.touch()
    mode = path.stat().st_mode
    save_file(weights, path, metadata={"format": "pt"})
    path.chmod(mode)
    _write_json(folder / "config.json", config)
    tokens = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    _write_json(folder / "generation_config.json", tokens)
    (folder / "README.md").write_text(card(source, trial, qkv_groups), encoding="utf-8")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def card(source: TrialFolder, trial: TrialConfig, qkv_groups: int) -> str:
    """Return the model card."""
    record = source.record()
    chosen = ", ".join(f"{key}={value}" for key, value in {**record.choices, **record.options}.items())
    assert record.result is not None
    counters, layout = record.result.counters, {"gptj": "CodeGen", "llama": "Llama"}[trial.block.kind]
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        "tags: [ablate]",
        "---",
        "",
        f"# Trial {source.trial_id} of `ablate`",
        "",
        f"A {trial.architecture.kind.replace('_', ' ')} of {record.result.parameters:,} parameters in transformers' "
        f"{layout} "
        "layout, fp32. It was trained for a comparison of pre-training methods, not for use.",
        "",
        f"- options: {chosen or 'the defaults'}",
        f"- training: {counters.train_tokens:,} train tokens of {', '.join(trial.mixture.weights)}; "
        f"{counters.loss_tokens:,} loss tokens",
        f"- context: at most {trial.scale.context_tokens:,} tokens",
        "- the tokenizer adds no special tokens; in training each document begins and ends with the end-of-text token",
        "",
        *_usage(trial, qkv_groups),
        "## Scores",
        "",
        *_scores(record.evaluations),
        "",
        "## Not in this folder",
        "",
        *_missing(trial, layout, qkv_groups),
    ]
    return "\n".join(lines) + "\n"


def _usage(trial: TrialConfig, qkv_groups: int) -> list[str]:
    """Return a program that writes text; none where stock transformers would compute something else."""
    if not _is_stock(trial, qkv_groups):
        return []
    return [
        "## Use",
        "",
        "```python",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        'folder = "."  # this folder',
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
        "model = AutoModelForCausalLM.from_pretrained(folder)",
        "# In training, each document began with this token.",
        'inputs = tokenizer(tokenizer.eos_token + "def ", return_tensors="pt")',
        "written = model.generate(**inputs, max_new_tokens=16, do_sample=False)",
        "print(tokenizer.decode(written[0], skip_special_tokens=True))",
        "```",
        "",
    ]


def _scores(evaluations: Mapping[str, Scores]) -> list[str]:
    rows = [
        f"| {name} | {value:.4f} | {suite_id} |"
        for suite_id, scores in evaluations.items()
        for name, value in scores.items()
    ]
    return ["| metric | score | suite |", "|---|---:|---|", *rows]


def _missing(trial: TrialConfig, layout: str, qkv_groups: int) -> list[str]:
    lines = [
        "- The state of the optimizer.",
        "- The difference between special tokens and text that spells them: text such as `<mask_1>` was plain text in "
        "training; transformers' tokenizer turns it into the token.",
    ]
    if trial.architecture.honours_bidirectional_spans:
        lines.append(
            f"- The attention mask of bidirectional spans: stock {layout} reads all of it from left to right. Scores "
            "of text in such spans were measured with the mask."
        )
    if not _is_stock(trial, qkv_groups):
        lines.append(
            f"- Support by stock transformers: the fused projections lie in {qkv_groups} groups, as CodeGen2's own "
            f"modelling code needs. Stock CodeGen assumes {STOCK_QKV_GROUPS}: it opens this folder and computes "
            "something else."
        )
    return lines
