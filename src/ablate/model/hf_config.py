"""A trial's shape as transformers' `config.json` says it, and back; imports nothing heavy.

A shape is a mapping from keys of our configuration to numbers. Widths stand in it as the ratios that make them, so
that a shape reads as what to type.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate.config.trial import TrialConfig
from ablate.errors import UsageError

# The model-parallel shards of the TPUs that CodeGen was trained on; stock transformers knows no other number.
STOCK_QKV_GROUPS = 4
CODEGEN2_QKV_GROUPS = 8
# Layers and width of CodeGen2-1B and CodeGen2-3.7B, which the release stores in 8 groups.
CODEGEN2_SHAPES = ((16, 2048), (16, 4096))
CODEGEN_ROTARY_BASE = 10_000.0


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's `config.json`. Raises UsageError where there is none that can be read."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder}: no readable config.json ({error}). Give a folder of save_pretrained's.") from None
    if not isinstance(config, dict):
        raise UsageError(f"{folder / 'config.json'}: not a mapping. Give a folder of save_pretrained's.")
    return config


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights: safetensors before pickles, those of the index where there is one.

    Raises:
        UsageError: there are none, or not all that the index names.
    """
    for stem, suffix in (("model", "safetensors"), ("pytorch_model", "bin")):
        whole, index = folder / f"{stem}.{suffix}", folder / f"{stem}.{suffix}.index.json"
        if whole.is_file():
            return [whole]
        if index.is_file():
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            if missing := sorted(name for name in names if not (folder / name).is_file()):
                raise UsageError(f"{folder}: {index.name} names files that are not there: {', '.join(missing)}.")
            return [folder / name for name in sorted(names)]
    raise UsageError(f"{folder}: no weights. Allowed: model.safetensors or pytorch_model.bin, whole or with an index.")


def shape_of_trial(trial: TrialConfig) -> dict[str, Any]:
    """The shape of a trial's weights and what they are computed with."""
    scale, block = trial.scale, trial.block
    return {
        "block.kind": block.kind,
        "scale.n_layers": scale.n_layers,
        "scale.d_model": scale.d_model,
        "scale.n_heads": scale.n_heads,
        "block.key_value_heads": trial.key_value_heads,
        "block.mlp_ratio": trial.mlp_width / scale.d_model,
        "block.partial_rotary_factor": trial.rotary_width / (scale.d_model // scale.n_heads),
        "block.rotary_base": block.rotary_base,
        "block.norm_eps": block.norm_eps,
        "tokenizer.vocab_size": trial.tokenizer.vocab_size,
    }


def shape_of_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The shape of a model that transformers wrote.

    Raises:
        UsageError: a kind of model that has no counterpart here, or one with a part that our blocks don't have.
    """
    readers = {"codegen": _codegen_shape, "llama": _llama_shape}
    kind = config.get("model_type")
    if kind not in readers:
        raise UsageError(f"model_type={kind}: not a model that can be read. Allowed: {', '.join(readers)}.")
    try:
        return readers[kind](config)
    except KeyError as missing:
        raise UsageError(f"config.json has no {missing}, which a model of type {kind} needs.") from None


def _codegen_shape(config: Mapping[str, Any]) -> dict[str, Any]:
    width, heads = config["n_embd"], config["n_head"]
    _refuse_other("activation_function", config.get("activation_function", "gelu_new"), "gelu_new", "gelu_pytorch_tanh")
    return {
        "block.kind": "gptj",
        "scale.n_layers": config["n_layer"],
        "scale.d_model": width,
        "scale.n_heads": heads,
        "block.key_value_heads": heads,
        "block.mlp_ratio": _inner_ratio(config.get("n_inner") or 4 * width, width),
        "block.partial_rotary_factor": config["rotary_dim"] / (width // heads),
        "block.rotary_base": CODEGEN_ROTARY_BASE,
        "block.norm_eps": config.get("layer_norm_epsilon", 1e-5),
        "tokenizer.vocab_size": config["vocab_size"],
    }


def _llama_shape(config: Mapping[str, Any]) -> dict[str, Any]:
    width, heads = config["hidden_size"], config["num_attention_heads"]
    # transformers 4 has rope_theta and rope_scaling, transformers 5 has both in rope_parameters.
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    _refuse_other("rope_type", rope.get("rope_type", rope.get("type", "default")), "default")
    _refuse_other("hidden_act", config.get("hidden_act", "silu"), "silu")
    _refuse_other("attention_bias", config.get("attention_bias", False), False)
    _refuse_other("mlp_bias", config.get("mlp_bias", False), False)
    _refuse_other("head_dim", config.get("head_dim") or width // heads, width // heads)
    return {
        "block.kind": "llama",
        "scale.n_layers": config["num_hidden_layers"],
        "scale.d_model": width,
        "scale.n_heads": heads,
        "block.key_value_heads": config.get("num_key_value_heads") or heads,
        "block.mlp_ratio": _inner_ratio(config["intermediate_size"], width),
        "block.partial_rotary_factor": 1.0,
        "block.rotary_base": float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0),
        "block.norm_eps": config.get("rms_norm_eps", 1e-6),
        "tokenizer.vocab_size": config["vocab_size"],
    }


def _refuse_other(key: str, given: Any, *allowed: Any) -> None:
    if given not in allowed:
        raise UsageError(
            f"config.json: {key}={given}: our blocks don't have this. Allowed: {', '.join(map(str, allowed))}."
        )


def _inner_ratio(mlp_width: int, width: int) -> float:
    if mlp_width % 8:
        raise UsageError(f"config.json: {mlp_width} channels inside the MLP: our blocks have a multiple of 8.")
    return mlp_width / width


def qkv_groups_of(config: Mapping[str, Any]) -> int:
    """In how many groups a CodeGen `config.json` stores its fused projection.

    What the key `qkv_groups` says, which our export writes; else 8 for the two shapes of CodeGen2 whose release has
    them, known by the `auto_map` or `head_dim` that stock CodeGen does not write (as CTranslate2's converter knows
    them); else 4.
    """
    if "qkv_groups" in config:
        return int(config["qkv_groups"])
    is_codegen2 = "auto_map" in config or "head_dim" in config
    shape = (config.get("n_layer"), config.get("n_embd"))
    return CODEGEN2_QKV_GROUPS if is_codegen2 and shape in CODEGEN2_SHAPES else STOCK_QKV_GROUPS


def config_of(trial: TrialConfig, *, qkv_groups: int, end_of_text: int) -> dict[str, Any]:
    """The `config.json` of a trial's model.

    Args:
        trial: of a decoder.
        qkv_groups: groups that a `gptj` block's fused projection is stored in; `llama` has none.
        end_of_text: the token that begins and ends documents.

    Raises:
        UsageError: a model that transformers has no class for, or heads that can't be grouped so.
    """
    _check_exportable(trial, qkv_groups)
    shared = {
        "dtype": "float32",
        "vocab_size": trial.tokenizer.vocab_size,
        "initializer_range": trial.scale.init_std,
        "tie_word_embeddings": False,
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "pad_token_id": end_of_text,
    }
    own = _llama_config(trial) if trial.block.kind == "llama" else _codegen_config(trial, qkv_groups)
    return own | shared


def _codegen_config(trial: TrialConfig, qkv_groups: int) -> dict[str, Any]:
    scale = trial.scale
    return {
        "architectures": ["CodeGenForCausalLM"],
        "model_type": "codegen",
        "n_layer": scale.n_layers,
        "n_embd": scale.d_model,
        "n_head": scale.n_heads,
        "n_inner": trial.mlp_width,
        "n_positions": scale.context_tokens,
        "n_ctx": scale.context_tokens,
        "rotary_dim": trial.rotary_width,
        "layer_norm_epsilon": trial.block.norm_eps,
        "activation_function": "gelu_new",
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "qkv_groups": qkv_groups,
    }


def _llama_config(trial: TrialConfig) -> dict[str, Any]:
    scale, block = trial.scale, trial.block
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "num_hidden_layers": scale.n_layers,
        "hidden_size": scale.d_model,
        "num_attention_heads": scale.n_heads,
        "num_key_value_heads": trial.key_value_heads,
        "intermediate_size": trial.mlp_width,
        "max_position_embeddings": scale.context_tokens,
        # The first for transformers 4, the second for transformers 5.
        "rope_theta": block.rotary_base,
        "rope_parameters": {"rope_type": "default", "rope_theta": block.rotary_base},
        "rms_norm_eps": block.norm_eps,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
    }


def _check_exportable(trial: TrialConfig, qkv_groups: int) -> None:
    block, heads = trial.block, trial.scale.n_heads
    if trial.architecture.has_encoder:
        raise UsageError(
            "architecture=encoder_decoder: transformers has no encoder-decoder of these blocks. Allowed: trials of "
            "causal_decoder and prefix_decoder."
        )
    if block.kind == "llama":
        if trial.rotary_width != trial.scale.d_model // heads:
            raise UsageError(
                f"block.partial_rotary_factor={block.partial_rotary_factor}: transformers' Llama turns all channels of a head. "
                "Allowed: trials with block.partial_rotary_factor=1.0."
            )
        return
    if block.rotary_base != CODEGEN_ROTARY_BASE:
        raise UsageError(
            f"block.rotary_base={block.rotary_base:g}: transformers' CodeGen has {CODEGEN_ROTARY_BASE:g} and no other."
        )
    if heads % qkv_groups:
        divisors = [number for number in range(1, heads + 1) if heads % number == 0]
        stock = "" if heads % STOCK_QKV_GROUPS == 0 else " Stock transformers opens 4 groups only."
        raise UsageError(
            f"--qkv-groups {qkv_groups}: does not divide scale.n_heads={heads}. "
            f"Allowed: {', '.join(map(str, divisors))}.{stock}"
        )
