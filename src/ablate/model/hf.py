"""Conversion of weights to transformers' layout and back: CodeGen for `gptj` blocks, Llama for `llama` ones.

Only names and the order of rows change: a round trip gives the same bits.

Shapes: `C` width, `G` groups, `D` head width.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from ablate.config.trial import TrialConfig
from ablate.errors import UsageError
from ablate.model.hf_config import config_of, qkv_groups_of, read_config, weight_files

Weights = dict[str, Tensor]

# Our names in a block and theirs, except the fused projection.
_CODEGEN_BLOCK = {
    "norm.weight": "ln_1.weight",
    "norm.bias": "ln_1.bias",
    "attention_out.weight": "attn.out_proj.weight",
    "mlp_in.weight": "mlp.fc_in.weight",
    "mlp_in.bias": "mlp.fc_in.bias",
    "mlp_out.weight": "mlp.fc_out.weight",
    "mlp_out.bias": "mlp.fc_out.bias",
}
_CODEGEN_ENDS = {
    "embedding.weight": "transformer.wte.weight",
    "norm.weight": "transformer.ln_f.weight",
    "norm.bias": "transformer.ln_f.bias",
    "head.weight": "lm_head.weight",
    "head.bias": "lm_head.bias",
}
_LLAMA_BLOCK = {
    "attention_norm.weight": "input_layernorm.weight",
    "attention_out.weight": "self_attn.o_proj.weight",
    "mlp_norm.weight": "post_attention_layernorm.weight",
    "mlp_gate.weight": "mlp.gate_proj.weight",
    "mlp_in.weight": "mlp.up_proj.weight",
    "mlp_out.weight": "mlp.down_proj.weight",
}
_LLAMA_ENDS = {
    "embedding.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "head.weight": "lm_head.weight",
}
# Constants that older releases saved with the weights.
_NO_WEIGHTS = ("attn.causal_mask", "attn.bias", "attn.masked_bias", "rotary_emb.inv_freq")


def to_hugging_face(
    weights: Mapping[str, Tensor], trial: TrialConfig, *, qkv_groups: int, end_of_text: int
) -> tuple[dict[str, Any], Weights]:
    """Return `config.json` and the weights in transformers' layout. Arguments and errors are those of `config_of`."""
    config = config_of(trial, qkv_groups=qkv_groups, end_of_text=end_of_text)
    converted = {theirs: weights[ours] for ours, theirs in _names(trial).items()}
    for layer in range(trial.scale.n_layers):
        qkv = weights[f"blocks.{layer}.qkv.weight"]
        if trial.block.kind == "gptj":
            converted[f"transformer.h.{layer}.attn.qkv_proj.weight"] = grouped(qkv, qkv_groups)
        else:
            query, key, value = torch.split(qkv, _rows(trial))
            prefix = f"model.layers.{layer}.self_attn"
            converted[f"{prefix}.q_proj.weight"] = half_split(query, _head_width(trial))
            converted[f"{prefix}.k_proj.weight"] = half_split(key, _head_width(trial))
            converted[f"{prefix}.v_proj.weight"] = value
    # safetensors needs tensors that share no memory.
    return config, {name: weight.clone(memory_format=torch.contiguous_format) for name, weight in converted.items()}


def from_hugging_face(folder: Path, trial: TrialConfig) -> Weights:
    """Read a folder that transformers wrote, as fp32 weights of the trial's decoder.

    The shapes are equal, because `training.initial` checks them. A head tied to the embedding becomes a copy of it.

    Raises:
        UsageError: weights are missing, or our blocks have no such weights.
    """
    config = read_config(folder)
    theirs = _read(folder)
    names = _names(trial)
    if config.get("tie_word_embeddings"):
        theirs.setdefault("lm_head.weight", theirs[names["embedding.weight"]])
    taken: set[str] = set()

    def take(name: str) -> Tensor:
        if name not in theirs:
            raise UsageError(f"init_from={folder}: has no weight {name}.")
        taken.add(name)
        return theirs[name].float()

    weights = {ours: take(name) for ours, name in names.items()}
    for layer in range(trial.scale.n_layers):
        weights[f"blocks.{layer}.qkv.weight"] = _fused(take, layer, trial, qkv_groups_of(config))
    if unknown := sorted(theirs.keys() - taken):
        raise UsageError(f"init_from={folder}: our blocks have no weights {', '.join(unknown[:8])}.")
    return weights


def _fused(take: Callable[[str], Tensor], layer: int, trial: TrialConfig, qkv_groups: int) -> Tensor:
    if trial.block.kind == "gptj":
        return ungrouped(take(f"transformer.h.{layer}.attn.qkv_proj.weight"), qkv_groups)
    query, key, value = (take(f"model.layers.{layer}.self_attn.{part}_proj.weight") for part in "qkv")
    return torch.cat([interleaved(query, _head_width(trial)), interleaved(key, _head_width(trial)), value])


def _names(trial: TrialConfig) -> dict[str, str]:
    """Map our names to theirs, for all weights that differ in nothing else."""
    is_llama = trial.block.kind == "llama"
    block, ends = (_LLAMA_BLOCK, _LLAMA_ENDS) if is_llama else (_CODEGEN_BLOCK, _CODEGEN_ENDS)
    prefix = "model.layers" if is_llama else "transformer.h"
    layers = range(trial.scale.n_layers)
    inner = {f"blocks.{n}.{ours}": f"{prefix}.{n}.{theirs}" for n in layers for ours, theirs in block.items()}
    return ends | inner


def _head_width(trial: TrialConfig) -> int:
    return trial.scale.d_model // trial.scale.n_heads


def _rows(trial: TrialConfig) -> list[int]:
    """Return the numbers of rows of a fused projection that are queries, keys and values."""
    return [heads * _head_width(trial) for heads in (trial.scale.n_heads, trial.key_value_heads, trial.key_value_heads)]


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
    return {name: weight for name, weight in weights.items() if not name.endswith(_NO_WEIGHTS)}
