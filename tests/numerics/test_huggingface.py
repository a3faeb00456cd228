"""Our blocks against transformers' models, on the same weights; no network."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from ablate.config.parse import trial_from_container, trial_to_container
from ablate.config.trial import TrialConfig
from ablate.errors import UsageError
from ablate.evaluation.generate import prompt_batch
from ablate.model.decoder import Decoder
from ablate.model.hf import from_hugging_face, to_hugging_face
from ablate.model.hf_config import config_of, qkv_groups_of, shape_of_config, shape_of_trial
from ablate.model.hf_weights import shapes_of, weight_files
from ablate.objectives.prompt import Prompt
from tests.support.codegen2 import codegen2_module
from tests.support.trials import MakeTrial

VOCABULARY = 340
# What fp32 leaves of the same sums in another order.
TOLERANCE = 2e-5

GPTJ = [
    ["scale.n_heads=4"],
    ["scale.d_model=64", "scale.n_heads=4", "block.partial_rotary_factor=0.25", "scale.n_layers=3"],
    ["scale.d_model=96", "scale.n_heads=12", "block.partial_rotary_factor=1.0", "block.mlp_ratio=2.5"],
]
LLAMA = [
    ["block=llama"],
    ["block=llama", "scale.n_heads=4", "block.key_value_heads=2", "scale.d_model=64"],
    ["block=llama", "scale.n_heads=6", "scale.d_model=96", "block.key_value_heads=1", "block.rotary_base=500000.0"],
    ["block=llama", "scale.n_heads=2", "block.mlp_ratio=3.5", "block.norm_eps=1e-6", "scale.n_layers=3"],
]


def drawn(trial: TrialConfig) -> Decoder:
    """A decoder in which no parameter keeps a first value that hides a mistake: biases and norms move too."""
    decoder = Decoder.from_config(trial, VOCABULARY)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.1)
    return decoder


def hugging_face(trial: TrialConfig, decoder: Decoder, *, qkv_groups: int = 4) -> Any:
    import transformers

    config, weights = to_hugging_face(decoder.state_dict(), trial, qkv_groups=qkv_groups, end_of_text=3)
    name = config["architectures"][0]
    model = getattr(transformers, name)(getattr(transformers, name.replace("ForCausalLM", "Config"))(**config))
    model.load_state_dict(weights)
    return model


def rows() -> Tensor:
    return torch.randint(0, VOCABULARY, (2, 37), generator=torch.Generator().manual_seed(2))


def logits_of(decoder: Decoder, input_ids_BT: Tensor) -> Tensor:
    position_BT = torch.arange(input_ids_BT.shape[1]).expand_as(input_ids_BT)
    ones, zeros = torch.ones_like(input_ids_BT), torch.zeros_like(input_ids_BT)
    logits_BTV: Tensor = decoder.head(decoder(input_ids_BT, ones, position_BT, zeros))
    return logits_BTV


def largest_difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).detach().abs().max())


def compare(trial: TrialConfig, decoder: Decoder, theirs: Any, qkv_groups: int) -> dict[str, float]:
    """The largest differences of logits and loss, and of gradients, in their own layout, as a share of the largest."""
    input_ids_BT = rows()
    logits_BTV = logits_of(decoder, input_ids_BT)
    loss = functional.cross_entropy(logits_BTV[:, :-1].flatten(0, 1), input_ids_BT[:, 1:].flatten())
    loss.backward()  # type: ignore[no-untyped-call]
    found = theirs(input_ids=input_ids_BT, labels=input_ids_BT)
    found.loss.backward()
    ours = {name: weight.grad for name, weight in decoder.named_parameters() if weight.grad is not None}
    assert len(ours) == len(list(decoder.parameters()))
    _, wanted = to_hugging_face(ours, trial, qkv_groups=qkv_groups, end_of_text=3)
    gradients = {name: weight.grad for name, weight in theirs.named_parameters()}
    assert gradients.keys() == wanted.keys()
    return {
        "logits": largest_difference(logits_BTV, found.logits),
        "loss": largest_difference(loss, found.loss),
        "gradients": max(
            largest_difference(gradients[name], wanted[name]) / float(wanted[name].abs().max()) for name in wanted
        ),
    }


@pytest.mark.parametrize("overrides", [*GPTJ, *LLAMA], ids=" ".join)
def test_logits_loss_and_gradients_are_those_of_transformers(
    make_trial: MakeTrial, overrides: list[str], record_property: Any
) -> None:
    trial = make_trial(*overrides)
    decoder = drawn(trial)
    found = compare(trial, decoder, hugging_face(trial, decoder), qkv_groups=4)
    record_property("differences", found)
    print(" ".join(overrides), found)
    assert max(found.values()) < TOLERANCE


@pytest.mark.parametrize("overrides", [*GPTJ, *LLAMA], ids=" ".join)
def test_logits_from_cached_keys_are_those_of_transformers(make_trial: MakeTrial, overrides: list[str]) -> None:
    trial = make_trial(*overrides)
    decoder = drawn(trial)
    input_ids_BT = rows()
    wanted_BTV = hugging_face(trial, decoder)(input_ids=input_ids_BT).logits.detach()
    caches = decoder.caches(2, input_ids_BT.shape[1])
    prompt = 30
    for row, ids_T in enumerate(input_ids_BT.numpy().astype(np.int32)):
        batch = prompt_batch(Prompt(ids_T[:prompt], 0))
        assert largest_difference(decoder.read_prompt(batch, caches, row), wanted_BTV[row, prompt - 1]) < TOLERANCE
    for position in range(prompt, input_ids_BT.shape[1]):
        logits_BV = decoder.read_tokens(input_ids_BT[:, position], caches)
        assert largest_difference(logits_BV, wanted_BTV[:, position]) < TOLERANCE


@pytest.fixture
def in_eight_groups() -> Iterator[ModuleType]:
    with codegen2_module() as module:
        yield module


@pytest.mark.parametrize("heads", [8, 16])
def test_eight_groups_are_read_as_codegen2_reads_them(
    make_trial: MakeTrial, in_eight_groups: ModuleType, heads: int, record_property: Any
) -> None:
    from transformers import CodeGenConfig

    trial = make_trial("scale.d_model=64", f"scale.n_heads={heads}")
    decoder = drawn(trial)
    config, weights = to_hugging_face(decoder.state_dict(), trial, qkv_groups=8, end_of_text=3)
    theirs = in_eight_groups.CodeGenForCausalLM(CodeGenConfig(**config))
    theirs.load_state_dict(weights)
    found = compare(trial, decoder, theirs, qkv_groups=8)
    record_property("differences", found)
    print(f"8 groups, {heads} heads", found)
    assert max(found.values()) < TOLERANCE
    stock = hugging_face(trial, decoder, qkv_groups=8)
    assert largest_difference(stock(input_ids=rows()).logits, theirs(input_ids=rows()).logits) > 0.1


@pytest.mark.parametrize("overrides", [*GPTJ, *LLAMA], ids=" ".join)
@pytest.mark.parametrize("qkv_groups", [1, 2, 4])
def test_there_and_back_is_the_same_bits(
    make_trial: MakeTrial, tmp_path: Path, overrides: list[str], qkv_groups: int
) -> None:
    trial = make_trial(*overrides)
    decoder = drawn(trial)
    config, weights = to_hugging_face(decoder.state_dict(), trial, qkv_groups=qkv_groups, end_of_text=3)
    write(tmp_path, config, weights)
    assert shape_of_config(config) == shape_of_trial(trial)
    assert shapes_of(trial) == {name: tuple(weight.shape) for name, weight in weights.items()}
    back = from_hugging_face(tmp_path, trial)
    assert back.keys() == decoder.state_dict().keys()
    for name, weight in decoder.state_dict().items():
        assert torch.equal(weight, back[name]), name


def write(folder: Path, config: dict[str, Any], weights: dict[str, Tensor]) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights, folder / "model.safetensors")


@pytest.mark.parametrize("overrides", [GPTJ[0], LLAMA[2]], ids=" ".join)
@pytest.mark.parametrize("shard", ["1GB", "20KB"])
def test_what_transformers_saves_is_read(
    make_trial: MakeTrial, tmp_path: Path, overrides: list[str], shard: str
) -> None:
    trial = make_trial(*overrides)
    decoder = drawn(trial)
    hugging_face(trial, decoder).save_pretrained(tmp_path, max_shard_size=shard)
    assert (len(weight_files(tmp_path)) > 1) == (shard == "20KB")
    fresh = Decoder.from_config(trial, VOCABULARY)
    fresh.load_state_dict(from_hugging_face(tmp_path, trial))
    assert torch.equal(logits_of(fresh, rows()), logits_of(decoder, rows()))


def test_pickles_and_their_constants_are_read_and_strangers_refused(make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = make_trial("scale.n_heads=4")
    config, weights = to_hugging_face(drawn(trial).state_dict(), trial, qkv_groups=4, end_of_text=3)
    write(tmp_path, config, weights)
    (tmp_path / "model.safetensors").unlink()
    torch.save({**weights, "transformer.h.0.attn.causal_mask": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    assert from_hugging_face(tmp_path, trial).keys() == Decoder.from_config(trial, VOCABULARY).state_dict().keys()
    torch.save({**weights, "adapter.weight": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UsageError, match=r"our blocks have no weights adapter\.weight"):
        from_hugging_face(tmp_path, trial)
    torch.save({name: weights[name] for name in list(weights)[1:]}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UsageError, match="has no weight"):
        from_hugging_face(tmp_path, trial)


def test_a_tied_head_starts_as_the_embedding(make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = make_trial("block=llama")
    config, weights = to_hugging_face(drawn(trial).state_dict(), trial, qkv_groups=4, end_of_text=3)
    del weights["lm_head.weight"]
    write(tmp_path, config | {"tie_word_embeddings": True}, weights)
    found = from_hugging_face(tmp_path, trial)
    assert torch.equal(found["head.weight"], found["embedding.weight"])


@pytest.mark.parametrize(
    ("config", "groups"),
    [
        ({"n_layer": 16, "n_embd": 2048}, 4),
        ({"n_layer": 16, "n_embd": 2048, "auto_map": {}}, 8),
        ({"n_layer": 16, "n_embd": 4096, "head_dim": 256}, 8),
        ({"n_layer": 32, "n_embd": 4096, "auto_map": {}}, 4),
        ({"n_layer": 16, "n_embd": 2048, "auto_map": {}, "qkv_groups": 4}, 4),
    ],
)
def test_groups_are_what_the_release_has(config: dict[str, Any], groups: int) -> None:
    assert qkv_groups_of(config) == groups


@pytest.mark.parametrize(
    ("overrides", "qkv_groups", "told"),
    [
        (["scale.n_heads=4"], 8, r"--qkv-groups 8: does not divide scale.n_heads=4. Allowed: 1, 2, 4.$"),
        (["scale.n_heads=2"], 4, r"Allowed: 1, 2. Stock transformers reads 4 groups only.$"),
        (
            ["scale.n_heads=4", "block.rotary_base=500.0"],
            4,
            "block.rotary_base=500: transformers' CodeGen supports 10000",
        ),
        (
            ["block=llama", "block.partial_rotary_factor=0.5"],
            4,
            "block.partial_rotary_factor=0.5: transformers' Llama rotates all",
        ),
    ],
)
def test_what_transformers_does_not_have_is_refused(
    make_trial: MakeTrial, overrides: list[str], qkv_groups: int, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        config_of(make_trial(*overrides), qkv_groups=qkv_groups, end_of_text=3)


def test_an_encoder_decoder_has_no_counterpart(make_trial: MakeTrial) -> None:
    trial = make_trial("scale.n_heads=4")
    trial = replace(trial, architecture=replace(trial.architecture, kind="encoder_decoder"))
    with pytest.raises(UsageError, match="no encoder-decoder with these blocks"):
        config_of(trial, qkv_groups=4, end_of_text=3)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model_type": "opt"}, "model_type=opt: this type of model is not supported. Allowed: codegen, llama."),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "rope_type=llama3: our blocks do not"),
        ({"hidden_act": "gelu"}, "hidden_act=gelu: our blocks do not support this. Allowed: silu."),
        ({"attention_bias": True}, "attention_bias=True: our blocks do not"),
        ({"head_dim": 8}, "head_dim=8: our blocks do not support this. Allowed: 16."),
        ({"intermediate_size": 30}, "an MLP width of 30: our blocks need a multiple of 8"),
    ],
)
def test_what_our_blocks_do_not_have_is_refused(make_trial: MakeTrial, change: dict[str, Any], told: str) -> None:
    config = config_of(make_trial("block=llama"), qkv_groups=4, end_of_text=3)
    with pytest.raises(UsageError, match=told):
        shape_of_config(config | change)
    with pytest.raises(UsageError, match=r"config\.json has no 'num_hidden_layers', which a model of type llama needs"):
        shape_of_config({key: value for key, value in config.items() if key != "num_hidden_layers"})


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({"key_value_heads": 1}, "block.key_value_heads=1: gptj has one per query head. Leave it null, or take"),
        ({"kind": "llama", "key_value_heads": 3}, r"must divide scale.n_heads=4. Allowed: 1, 2, 4\."),
        ({"mlp_ratio": 0.01}, "block.mlp_ratio=0.01: less than 8 channels in the MLP"),
    ],
)
def test_a_block_that_cannot_be_built_is_told(make_trial: MakeTrial, block: dict[str, Any], told: str) -> None:
    container = trial_to_container(make_trial("scale.n_heads=4"))
    container["block"] |= block
    with pytest.raises(UsageError, match=told):
        trial_from_container(container)
