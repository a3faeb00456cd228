"""Conversion of weights to transformers' layout and back: CodeGen for `gptj` blocks, Llama for `llama` ones.

Only names and the order of rows change: a round trip gives the same bits. muP's multipliers become part of the weights.

Shapes: `C` width, `G` groups, `D` head width.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from ablate.config.trial import TrialConfig
from ablate.model.hf_config import config_of, qkv_groups_of, read_config
from ablate.model.hf_weights import check_weights, is_weight, names_of, weight_files

Weights = dict[str, Tensor]


def to_hugging_face(
    weights: Mapping[str, Tensor], trial: TrialConfig, *, qkv_groups: int, end_of_text: int
) -> tuple[dict[str, Any], Weights]:
    """Return `config.json` and the weights in transformers' layout. Arguments and errors are those of `config_of`."""
    config = config_of(trial, qkv_groups=qkv_groups, end_of_text=end_of_text)
    converted = {theirs: weights[ours] for ours, theirs in names_of(trial).items()}
    if trial.scale.width_multiplier != 1:
        head = names_of(trial)["head.weight"]
        converted[head] = converted[head] / trial.scale.width_multiplier
    for layer in range(trial.scale.n_layers):
        qkv = _with_multiplier(weights[f"blocks.{layer}.qkv.weight"], trial)
        if trial.block.kind == "gptj":
            converted[f"transformer.h.{layer}.attn.qkv_proj.weight"] = grouped(qkv, qkv_groups)
        else:
            query, key, value = torch.split(qkv, _rows(trial))
            prefix = f"model.layers.{layer}.self_attn"
            converted[f"{prefix}.q_proj.weight"] = half_split(query, trial.head_width)
            converted[f"{prefix}.k_proj.weight"] = half_split(key, trial.head_width)
            converted[f"{prefix}.v_proj.weight"] = value
    # safetensors needs tensors that share no memory.
    return config, {name: weight.clone(memory_format=torch.contiguous_format) for name, weight in converted.items()}


def _with_multiplier(qkv: Tensor, trial: TrialConfig) -> Tensor:
    """Multiply the queries' rows by muP's factor, which the blocks of transformers do not have."""
    if trial.scale.width_multiplier == 1:
        return qkv
    query, rest = torch.split(qkv, [trial.scale.d_model, qkv.shape[0] - trial.scale.d_model])
    return torch.cat([query * trial.scale.width_multiplier**-0.5, rest])


def from_hugging_face(folder: Path, trial: TrialConfig) -> Weights:
    """Read a folder that transformers wrote, as fp32 weights of the trial's decoder.

    A head tied to the embedding becomes a copy of it.

    Raises:
        UsageError: see `check_weights`.
    """
    check_weights(folder, trial)
    config = read_config(folder)
    theirs = _read(folder)
    names = names_of(trial)
    if config.get("tie_word_embeddings"):
        theirs.setdefault("lm_head.weight", theirs[names["embedding.weight"]])
    weights = {ours: theirs[name].float() for ours, name in names.items()}
    for layer in range(trial.scale.n_layers):
        weights[f"blocks.{layer}.qkv.weight"] = _fused(theirs, layer, trial, qkv_groups_of(config))
    return weights


def _fused(theirs: Weights, layer: int, trial: TrialConfig, qkv_groups: int) -> Tensor:
    if trial.block.kind == "gptj":
        return ungrouped(theirs[f"transformer.h.{layer}.attn.qkv_proj.weight"].float(), qkv_groups)
    query, key, value = (theirs[f"model.layers.{layer}.self_attn.{part}_proj.weight"].float() for part in "qkv")
    return torch.cat([interleaved(query, trial.head_width), interleaved(key, trial.head_width), value])


def _rows(trial: TrialConfig) -> list[int]:
    """Return the numbers of rows of a fused projection that are queries, keys and values."""
    return [heads * trial.head_width for heads in (trial.scale.n_heads, trial.key_value_heads, trial.key_value_heads)]


def grouped(qkv: Tensor, groups: int) -> Tensor:
    """Reorder all queries, keys, values, (3 · C, C), to CodeGen's groups of queries, *values, keys*."""
    query, key, value = qkv.view(3, groups, -1, qkv.shape[-1])
    return torch.stack([query, value, key], dim=1).flatten(0, 2)


def ungrouped(qkv: Tensor, groups: int) -> Tensor:
    """Invert `grouped`."""
    query, value, key = qkv.view(groups, 3, -1, qkv.shape[-1]).unbind(1)
    return torch.stack([query, key, value]).flatten(0, 2)


def half_split(rows: Tensor, head_width: int) -> Tensor:
    """Reorder neighbouring rotary pairs to Llama's order: all first channels of a head, then all second ones."""
    return rows.view(-1, head_width // 2, 2, rows.shape[-1]).transpose(1, 2).flatten(0, 2)


def interleaved(rows: Tensor, head_width: int) -> Tensor:
    """Invert `half_split`."""
    return rows.view(-1, 2, head_width // 2, rows.shape[-1]).transpose(1, 2).flatten(0, 2)


def _read(folder: Path) -> Weights:
    weights: Weights = {}
    for path in weight_files(folder):
        is_safe = path.suffix == ".safetensors"
        weights |= load_file(path) if is_safe else torch.load(path, map_location="cpu", weights_only=True)
    return {name: weight for name, weight in weights.items() if is_weight(name)}
