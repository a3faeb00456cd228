"""CodeGen2 as it was released, with weights drawn at random: its layout, its quirks, and a reader of it."""

import importlib.util
import inspect
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

GROUPS_IN_STOCK, GROUPS = "self.mp_num = 4", "self.mp_num = 8"


@contextmanager
def codegen2_module() -> Iterator[ModuleType]:
    """Yield transformers' CodeGen in 8 groups, as the release's own code has it; skip the test where there is none."""
    modeling_codegen = pytest.importorskip("transformers.models.codegen.modeling_codegen")
    source = inspect.getsource(modeling_codegen)
    if source.count(GROUPS_IN_STOCK) != 1:
        pytest.skip(f"transformers' CodeGen has no {GROUPS_IN_STOCK}")
    name = "transformers.models.codegen.modeling_codegen_in_eight_groups"
    spec = importlib.util.spec_from_loader(name, loader=None, origin=modeling_codegen.__file__)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = modeling_codegen.__file__
    # transformers looks classes up by the modules that they are in.
    sys.modules[name] = module
    exec(compile(source.replace(GROUPS_IN_STOCK, GROUPS), name, "exec"), module.__dict__)
    try:
        yield module
    finally:
        del sys.modules[name]


def write_codegen2(folder: Path, module: ModuleType, *, layers: int, width: int, heads: int, context: int) -> Any:
    """Write a folder in the release's layout, and return its model by the release's code.

    `config.json` names no groups and the wrong ends of text, 1 and 2. The weights are a pickle that has constants too.
    """
    shape = {"n_layer": layers, "n_embd": width, "n_head": heads, "n_positions": context, "n_ctx": context}
    config: dict[str, Any] = shape | {"vocab_size": 51_200, "rotary_dim": width // heads // 2, "n_inner": None}
    config |= {"activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "initializer_range": 0.02}
    config |= {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0, "tie_word_embeddings": False}
    torch.manual_seed(0)
    model = module.CodeGenForCausalLM(module.CodeGenConfig(**config)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    mask = torch.ones(context, context, dtype=torch.bool).tril()[None, None]
    weights = model.state_dict() | {f"transformer.h.{layer}.attn.causal_mask": mask for layer in range(layers)}
    folder.mkdir()
    torch.save(weights, folder / "pytorch_model.bin")
    config |= {"architectures": ["CodeGenForCausalLM"], "model_type": "codegen", "head_dim": width // heads}
    config |= {"auto_map": {"AutoModelForCausalLM": "modeling_codegen.CodeGenForCausalLM"}}
    (folder / "config.json").write_text(json.dumps(config | {"bos_token_id": 1, "eos_token_id": 2}))
    return model
