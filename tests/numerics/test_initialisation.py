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
