"""Initial values of sharded models are those of one device."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from ablate.model.decoder import Decoder
from ablate.model.encoder_decoder import EncoderDecoder
from tests.support.trials import MakeTrial


@pytest.fixture
def rank() -> Iterator[int]:
    """The last of three ranks, whose collectives send nothing. One per process: torch caches a mesh's offsets."""
    dist.init_process_group("fake", store=FakeStore(), rank=2, world_size=3)
    yield 2
    dist.destroy_process_group()


@pytest.mark.filterwarnings("default")
def test_a_shard_holds_its_rows_of_the_values_of_one_device(make_trial: MakeTrial, rank: int) -> None:
    trial = make_trial()
    whole = Decoder.from_config(trial, 340).state_dict()
    with torch.device("meta"):
        model = Decoder.from_config(trial, 340)
    mesh = init_device_mesh("cpu", (3,))
    for block in model.all_blocks():
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    model.materialise(torch.device("cpu"))
    # 340 and 32 rows do not divide by 3.
    for name, parameter in model.named_parameters():
        assert isinstance(parameter, DTensor)
        assert torch.equal(parameter.to_local(), whole[name].chunk(3)[rank]), name


def test_a_model_from_the_meta_device_has_the_values_of_one_that_was_built(make_trial: MakeTrial) -> None:
    trial = make_trial("block=llama")
    with torch.device("meta"):
        model = Decoder.from_config(trial, 340)
    model.materialise(torch.device("cpu"))
    built = Decoder.from_config(trial, 340).state_dict()
    assert all(torch.equal(value, built[name]) for name, value in model.state_dict().items())


def test_codegen_s_initial_values_follow_fan_in_and_depth(make_trial: MakeTrial) -> None:
    layers, width, vocabulary = 4, 64, 1024
    sizes = [f"scale.n_layers={layers}", f"scale.d_model={width}", "init_scheme=codegen"]
    values = Decoder.from_config(make_trial(*sizes), vocabulary).state_dict()
    # A truncated normal's spread: its values beyond two standard deviations are drawn again.
    into_residual, truncated = 2 / layers / width**0.5, 0.8796
    expected = {
        "embedding.weight": vocabulary**-0.5,
        "blocks.0.qkv.weight": width**-0.5,
        "blocks.3.attention_out.weight": into_residual,
        "blocks.1.mlp_in.weight": width**-0.5,
        "blocks.1.mlp_out.weight": into_residual,
        "head.weight": width**-0.5,
    }
    for name, std in expected.items():
        assert float(values[name].std()) == pytest.approx(truncated * std, rel=0.05), name
        assert float(values[name].abs().max()) <= 2 * std, name
    assert not values["blocks.0.mlp_in.bias"].any()
    assert values["blocks.0.norm.weight"].eq(1).all()


def test_codegen_s_initial_values_know_cross_attention(make_trial: MakeTrial) -> None:
    trial = make_trial("architecture=encoder_decoder", "objective=span_corruption", "init_scheme=codegen")
    values = EncoderDecoder.from_config(trial, 340).state_dict()
    (out,) = (value for name, value in values.items() if name.endswith("blocks.0.cross.out.weight"))
    assert float(out.std()) == pytest.approx(0.8796 * 2 / 2 / 32**0.5, rel=0.1)
