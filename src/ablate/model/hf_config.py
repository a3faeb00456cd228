"""Convert between a trial's shape and transformers' `config.json`, without heavy imports.

A shape maps keys of our configuration to values. It holds ratios in place of widths, so it lists what to type.
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
    """Read a folder's `config.json`. Raises UsageError if it cannot be read."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{folder}: no readable config.json ({error}). Give a folder written by save_pretrained."
        ) from None
    if not isinstance(config, dict):
        raise UsageError(f"{folder / 'config.json'}: not a JSON object. Give a folder written by save_pretrained.")
    return config


def shape_of_trial(trial: TrialConfig) -> dict[str, Any]:
    """Return the keys that determine a trial's weights and its forward pass."""
    scale, block = trial.scale, trial.block
    return {
        "block.kind": block.kind,
        "scale.n_layers": scale.n_layers,
        "scale.d_model": scale.d_model,
        "scale.n_heads": scale.n_heads,
        "scale.mup_base_width": None if scale.width_multiplier == 1 else scale.mup_base_width,
        "block.key_value_heads": trial.key_value_heads,
        "block.mlp_ratio": trial.mlp_width / scale.d_model,
        "block.partial_rotary_factor": trial.rotary_width / trial.head_width,
        "block.rotary_base": block.rotary_base,
        "block.norm_eps": block.norm_eps,
        "tokenizer.vocab_size": trial.tokenizer.vocab_size,
    }


def shape_of_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the `config.json` of transformers to a shape.

    Raises:
        UsageError: an unsupported type of model, or a setting that our blocks do not support.
    """
    readers = {"codegen": _codegen_shape, "llama": _llama_shape}
    kind = config.get("model_type")
    if kind not in readers:
        raise UsageError(f"model_type={kind}: this type of model is not supported. Allowed: {', '.join(readers)}.")
    try:
        return readers[kind](config)
    except KeyError as missing:
        raise UsageError(f"config.json has no {missing}, which a model of type {kind} needs.") from None
    except (TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"config.json: a value that a model of type {kind} cannot have ({error}).") from None


def _codegen_shape(config: Mapping[str, Any]) -> dict[str, Any]:
    width, heads = config["n_embd"], config["n_head"]
    _check_setting(
        "activation_function", config.get("activation_function", "gelu_new"), "gelu_new", "gelu_pytorch_tanh"
    )
    return {
        "block.kind": "gptj",
        "scale.n_layers": config["n_layer"],
        "scale.d_model": width,
        "scale.n_heads": heads,
        "scale.mup_base_width": None,
        "block.key_value_heads": heads,
        "block.mlp_ratio": _mlp_ratio(config.get("n_inner") or 4 * width, width),
        "block.partial_rotary_factor": config["rotary_dim"] / (width // heads),
        "block.rotary_base": CODEGEN_ROTARY_BASE,
        "block.norm_eps": config.get("layer_norm_epsilon", 1e-5),
        "tokenizer.vocab_size": config["vocab_size"],
    }


def _llama_shape(config: Mapping[str, Any]) -> dict[str, Any]:
    width, heads = config["hidden_size"], config["num_attention_heads"]
    # transformers 4 has rope_theta and rope_scaling, transformers 5 has both in rope_parameters.
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    _check_setting("rope_type", rope.get("rope_type", rope.get("type", "default")), "default")
    _check_setting("hidden_act", config.get("hidden_act", "silu"), "silu")
    _check_setting("attention_bias", config.get("attention_bias", False), False)
    _check_setting("mlp_bias", config.get("mlp_bias", False), False)
    _check_setting("head_dim", config.get("head_dim") or width // heads, width // heads)
    return {
        "block.kind": "llama",
        "scale.n_layers": config["num_hidden_layers"],
        "scale.d_model": width,
        "scale.n_heads": heads,
        "scale.mup_base_width": None,
        "block.key_value_heads": config.get("num_key_value_heads") or heads,
        "block.mlp_ratio": _mlp_ratio(config["intermediate_size"], width),
        "block.partial_rotary_factor": 1.0,
        "block.rotary_base": float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0),
        "block.norm_eps": config.get("rms_norm_eps", 1e-6),
        "tokenizer.vocab_size": config["vocab_size"],
    }


def _check_setting(key: str, value: Any, *allowed: Any) -> None:
    if value not in allowed:
        raise UsageError(
            f"config.json: {key}={value}: our blocks do not support this. Allowed: {', '.join(map(str, allowed))}."
        )


def _mlp_ratio(mlp_width: int, width: int) -> float:
    if mlp_width % 8:
        raise UsageError(f"config.json: an MLP width of {mlp_width}: our blocks need a multiple of 8.")
    return mlp_width / width


def qkv_groups_of(config: Mapping[str, Any]) -> int:
    """Return the number of groups in which a CodeGen checkpoint stores its fused query-key-value projection.

    This is the key `qkv_groups` if present (our export writes it). Otherwise it is 8 for the two released CodeGen2
    shapes with 8 groups, recognised by `auto_map` or `head_dim` as in CTranslate2's converter; and 4 for all others.
    """
    if "qkv_groups" in config:
        return int(config["qkv_groups"])
    is_codegen2 = "auto_map" in config or "head_dim" in config
    shape = (config.get("n_layer"), config.get("n_embd"))
    return CODEGEN2_QKV_GROUPS if is_codegen2 and shape in CODEGEN2_SHAPES else STOCK_QKV_GROUPS


def config_of(trial: TrialConfig, *, qkv_groups: int, end_of_text: int) -> dict[str, Any]:
    """Return the `config.json` of a trial's model.

    Args:
        trial: the trial, which must have a decoder only.
        qkv_groups: the number of groups of a `gptj` block's fused projection; ignored for `llama`.
        end_of_text: the token that begins and ends documents.

    Raises:
        UsageError: transformers has no class for the model, or `qkv_groups` does not divide the heads.
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
    specific = _llama_config(trial) if trial.block.kind == "llama" else _codegen_config(trial, qkv_groups)
    return specific | shared


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
        # transformers 4 reads rope_theta, transformers 5 reads rope_parameters.
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
            "architecture=encoder_decoder: transformers has no encoder-decoder with these blocks. Allowed: "
            "architecture=causal_decoder or prefix_decoder."
        )
    if block.kind == "llama":
        if trial.rotary_width != trial.head_width:
            raise UsageError(
                f"block.partial_rotary_factor={block.partial_rotary_factor}: transformers' Llama rotates all channels "
                "of a head. Allowed: trials with block.partial_rotary_factor=1.0."
            )
        return
    if block.rotary_base != CODEGEN_ROTARY_BASE:
        raise UsageError(
            f"block.rotary_base={block.rotary_base:g}: transformers' CodeGen supports {CODEGEN_ROTARY_BASE:g} only."
        )
    if heads % qkv_groups:
        divisors = [number for number in range(1, heads + 1) if heads % number == 0]
        stock = "" if heads % STOCK_QKV_GROUPS == 0 else " Stock transformers reads 4 groups only."
        raise UsageError(
            f"--qkv-groups {qkv_groups}: does not divide scale.n_heads={heads}. "
            f"Allowed: {', '.join(map(str, divisors))}.{stock}"
        )
