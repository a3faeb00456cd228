"""Names and shapes of weights in transformers' layout, checked against the files of a folder without reading them.

The header of a safetensors file has both. A pickle is opened without its data, which takes torch.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ablate.config.trial import TrialConfig
from ablate.errors import UsageError
from ablate.model.hf_config import read_config

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
# Types that become fp32 without loss or a scale.
_TYPES = {"F64", "F32", "F16", "BF16", "torch.float64", "torch.float32", "torch.float16", "torch.bfloat16"}
_LFS = b"version https://git-lfs.github.com/spec/"
_MOST_NAMES = 8

Shape = tuple[int, ...]


def names_of(trial: TrialConfig) -> dict[str, str]:
    """Map our names to theirs, for all weights that differ in nothing else."""
    is_llama = trial.block.kind == "llama"
    block, ends = (_LLAMA_BLOCK, _LLAMA_ENDS) if is_llama else (_CODEGEN_BLOCK, _CODEGEN_ENDS)
    layers = range(trial.scale.n_layers)
    inner = {f"blocks.{n}.{ours}": f"{_prefix(trial, n)}.{theirs}" for n in layers for ours, theirs in block.items()}
    return ends | inner


def _prefix(trial: TrialConfig, layer: int) -> str:
    return f"model.layers.{layer}" if trial.block.kind == "llama" else f"transformer.h.{layer}"


def is_weight(name: str) -> bool:
    """Whether a tensor of a file is a weight, and not a constant."""
    return not name.endswith(_NO_WEIGHTS)


def shapes_of(trial: TrialConfig) -> dict[str, Shape]:
    """Return the shape of each weight of a trial's decoder, by its name in transformers' layout."""
    width, inner, entries = trial.scale.d_model, trial.mlp_width, trial.tokenizer.vocab_size
    shapes: dict[str, Shape] = {}
    for ours, theirs in names_of(trial).items():
        part, _, kind = ours.removeprefix("blocks.").rpartition(".")
        match part.rpartition(".")[2]:
            case "embedding" | "head":
                shapes[theirs] = (entries, width) if kind == "weight" else (entries,)
            case "mlp_in" | "mlp_gate":
                shapes[theirs] = (inner, width) if kind == "weight" else (inner,)
            case "mlp_out":
                shapes[theirs] = (width, inner) if kind == "weight" else (width,)
            case "attention_out":
                shapes[theirs] = (width, width)
            case _:
                shapes[theirs] = (width,)
    keys = trial.key_value_heads * (width // trial.scale.n_heads)
    for layer in range(trial.scale.n_layers):
        prefix = _prefix(trial, layer)
        if trial.block.kind == "gptj":
            shapes[f"{prefix}.attn.qkv_proj.weight"] = (3 * width, width)
        else:
            shapes |= {f"{prefix}.self_attn.{part}_proj.weight": (keys, width) for part in "kv"}
            shapes[f"{prefix}.self_attn.q_proj.weight"] = (width, width)
    return shapes


def weight_files(folder: Path) -> list[Path]:
    """Return the files of the weights. Safetensors have precedence over pickles, and a single file over an index.

    Raises:
        UsageError: no weights, an index that cannot be read, or a file of the index is missing.
    """
    for stem, suffix in (("model", "safetensors"), ("pytorch_model", "bin")):
        whole, index = folder / f"{stem}.{suffix}", folder / f"{stem}.{suffix}.index.json"
        if whole.is_file():
            return [whole]
        if index.is_file():
            names = _indexed(index)
            if missing := sorted(name for name in names if not (folder / name).is_file()):
                raise UsageError(f"{folder}: {index.name} lists missing files: {', '.join(missing)}.")
            return [folder / name for name in sorted(names)]
    raise UsageError(
        f"{folder}: no weights. Allowed: model.safetensors or pytorch_model.bin, as one file or with an index."
    )


def _indexed(index: Path) -> set[str]:
    try:
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise _unreadable(index, "not an index of weights", error) from None


def check_weights(folder: Path, trial: TrialConfig) -> None:
    """Check that a folder has exactly the weights of a trial's decoder, by their names, shapes and types.

    Raises:
        UsageError: a file that cannot be read, or weights that are missing, left over, or of another shape or type.
    """
    stored = {name: place for path in weight_files(folder) for name, *place in _stored(path) if is_weight(name)}
    expected = shapes_of(trial)
    missing = expected.keys() - stored.keys()
    if read_config(folder).get("tie_word_embeddings"):
        missing -= {"lm_head.weight"}
    if missing:
        raise UsageError(f"{folder}: has no weight {_listed(missing)}.")
    if unknown := stored.keys() - expected.keys():
        raise UsageError(f"{folder}: our blocks have no weights {_listed(unknown)}.")
    for name, (shape, kind) in sorted(stored.items()):
        if shape != expected[name]:
            raise UsageError(
                f"{folder}: {name} has the shape {list(shape)}, and by its config.json it should have "
                f"{list(expected[name])}. The files do not belong together; download or save the folder again."
            )
        if kind not in _TYPES:
            raise UsageError(
                f"{folder}: {name} is of type {kind}. Allowed: float32, float16, bfloat16, float64. Save the weights "
                "without quantization."
            )


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - _MOST_NAMES} more" if len(ordered) > _MOST_NAMES else ""
    return ", ".join(ordered[:_MOST_NAMES]) + more


def _stored(path: Path) -> Iterator[tuple[str, Shape, str]]:
    """Yield (name, shape, type) of each tensor in a file."""
    yield from _in_safetensors(path) if path.suffix == ".safetensors" else _in_pickle(path)


def _in_safetensors(path: Path) -> Iterator[tuple[str, Shape, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        # Checks the header against the size of the file.
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118  (it is no mapping)
                part = file.get_slice(name)
                yield name, tuple(part.get_shape()), str(part.get_dtype())
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, "not a whole safetensors file", error) from None


def _in_pickle(path: Path) -> Iterator[tuple[str, Shape, str]]:
    import pickle

    import torch

    try:
        content: Any = torch.load(path, map_location="meta", weights_only=True)
    except pickle.UnpicklingError:
        if not path.read_bytes()[:2].startswith((b"PK", b"\x80")):
            raise _unreadable(path, "not a file of weights", None) from None
        raise UsageError(
            f"{path}: holds Python objects other than tensors, which may run code when they are read. Save the weights "
            "alone: model.save_pretrained(FOLDER) writes model.safetensors."
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise _unreadable(path, "not a whole file of weights", error) from None
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise UsageError(
            f"{path}: is not a mapping of names to tensors. Save the weights alone: torch.save(model.state_dict(), …)."
        )
    yield from ((str(name), tuple(value.shape), str(value.dtype)) for name, value in content.items())


def _unreadable(path: Path, problem: str, error: Exception | None) -> UsageError:
    with path.open("rb") as file:
        start = file.read(len(_LFS))
    if start == _LFS:
        return UsageError(f"{path}: is a Git LFS pointer and not the file itself. Fetch it: git lfs pull")
    reason = "empty" if not start else str(error).splitlines()[0] if error and str(error) else "wrong content"
    return UsageError(f"{path}: {problem} ({reason}). Download or save the folder again.")
