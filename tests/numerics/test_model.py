"""Shapes, initial values, loss and rotary positions."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from ablate.data.shards import Shards
from ablate.data.steps import Steps
from ablate.grid.expand import default_container
from ablate.model.decoder import Decoder
from ablate.model.flops import training_flops
from ablate.model.loss import nll_per_position, summed_nll
from ablate.model.rotary import rotary_angles, rotate
from ablate.parsing import composed_from_container
from tests.conftest import MakeTrial


def test_codegen2_1b_has_its_shape() -> None:
    trial = composed_from_container(default_container("scale=1b", "tokenizer.entries=51200")).trial
    with torch.device("meta"):
        decoder = Decoder.from_config(trial, trial.tokenizer.entries)
    assert len(decoder.blocks) == 16
    assert decoder.head.weight.shape == (51_200, 2048)
    assert decoder.rotary_width == 64
    # 16 layers of 12 · 2048² weights, two embeddings of 51 200 × 2048, biases and norms: about 1.015B.
    assert sum(weight.numel() for weight in decoder.parameters()) == 1_015_306_240


def test_arms_share_initial_values_by_name(make_trial: MakeTrial) -> None:
    small = Decoder.from_config(make_trial(), 340)
    other = Decoder.from_config(make_trial("objective=prefix", "architecture=causal_decoder"), 340)
    deeper = Decoder.from_config(make_trial("scale.layers=3"), 340)
    seeded = Decoder.from_config(make_trial("init_seed=1"), 340)
    for name, value in small.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
        assert torch.equal(value, deeper.state_dict()[name])
    assert not torch.equal(small.embedding.weight, seeded.embedding.weight)
    assert not torch.equal(small.embedding.weight, small.head.weight)
    assert float(small.embedding.weight.detach().std()) == pytest.approx(0.06, rel=0.05)


@pytest.mark.filterwarnings("default")
def test_chunked_loss_equals_the_whole_and_so_do_its_gradients() -> None:
    torch.manual_seed(0)
    head = nn.Linear(16, 500)
    hidden = torch.randn(700, 16, requires_grad=True)
    target = torch.randint(0, 500, (700,))
    weight = (torch.rand(700) < 0.7).float()
    logits = head(hidden)
    whole = (functional.cross_entropy(logits, target, reduction="none") * weight).sum()
    wanted = torch.autograd.grad(whole, [hidden, head.weight, head.bias])
    chunked = summed_nll(hidden, head, target, weight)
    found = torch.autograd.grad(chunked, [hidden, head.weight, head.bias])
    assert chunked.item() == pytest.approx(whole.item(), rel=1e-5)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-4)
    scored = nll_per_position(hidden, head, target, chunk_positions=64)
    assert torch.allclose(scored, functional.cross_entropy(logits, target, reduction="none"), atol=1e-5)


def test_rotary_products_depend_on_distance_alone() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)
    products = []
    for shift in (0, 7, 100):
        turned = [rotate(part, *rotary_angles(torch.tensor([[at + shift]]), 4)) for part, at in ((query, 5), (key, 2))]
        products.append(float((turned[0] * turned[1]).sum()))
    assert products == pytest.approx([products[0]] * 3, rel=1e-5)
    moved = rotate(key, *rotary_angles(torch.tensor([[3]]), 4))
    assert float((rotate(query, *rotary_angles(torch.tensor([[5]]), 4)) * moved).sum()) != pytest.approx(products[0])


def test_flops_count_products(make_trial: MakeTrial) -> None:
    trial = make_trial()
    decoder = Decoder.from_config(trial, 340)
    layer = 32 * 96 + 32 * 32 + 2 * 32 * 128
    counted = training_flops(decoder, trial.scale, input_tokens=10, loss_tokens=9, attended_pairs=55)
    assert counted == 6 * (2 * layer * 10 + 340 * 32 * 9) + 12 * 2 * 32 * 55


def test_activation_checkpointing_changes_memory_and_no_number(make_trial: MakeTrial, shards: Shards) -> None:
    gradients = []
    for checkpointing in ("true", "false"):
        trial = make_trial("objective=prefix", f"scale.activation_checkpointing={checkpointing}")
        decoder = Decoder.from_config(trial, 340)
        batch = Steps(trial, shards)[0].batch
        parts = (batch.input_ids_BT, batch.document_BT, batch.position_BT, batch.region_BT)
        decoder(*(torch.from_numpy(part) for part in parts)).square().sum().backward()
        gradients.append([weight.grad for weight in decoder.blocks.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
